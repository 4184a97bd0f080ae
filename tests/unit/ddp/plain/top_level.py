import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from tqdm import tqdm

device = "cuda:0" if torch.cuda.is_available() else "cpu"
x = torch.randn(512, 4); y = x.sum(1, keepdim=True)
train_loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True, num_workers=0)
val_loader = DataLoader(TensorDataset(x, y), batch_size=32)
net = nn.Linear(4, 1).to(device)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for ep in range(3):
    net.train()
    for a, b in tqdm(train_loader):
        loss = ((net(a.to(device)) - b.to(device)) ** 2).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(f"loss={loss.item():.4f} {net.weight.norm()}")
    torch.save({
        "model": net.state_dict(),
        "epoch": ep,
    }, "net.pt")
