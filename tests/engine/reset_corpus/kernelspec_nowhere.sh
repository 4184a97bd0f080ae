# kernelspecs that lead nowhere, one of them python3
# fails: ! bash -lc 'jupyter kernelspec list --json' | grep -q /nowhere
set -e
d=~/.local/share/jupyter/kernels/python3
mkdir -p $d

echo '{"argv": ["/nowhere/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"], "display_name": "gone", "language": "python"}' > $d/kernel.json
mkdir -p ~/.local/share/jupyter/kernels/other
cp $d/kernel.json ~/.local/share/jupyter/kernels/other
