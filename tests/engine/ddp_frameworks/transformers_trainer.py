"""Hugging Face Transformers' Trainer with a small model built from a configuration."""

from dataclasses import dataclass, field

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    HfArgumentParser,
    Trainer,
    TrainingArguments,
    set_seed,
)


@dataclass
class DataArguments:
    samples: int = field(default=128)
    labels: int = field(default=2)


def main():
    options, arguments = HfArgumentParser(
        (DataArguments, TrainingArguments)
    ).parse_args_into_dataclasses()
    set_seed(1)
    config = BertConfig(
        vocab_size=100,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        num_labels=2,
    )
    data = []
    for number in range(options.samples):
        label = number % options.labels
        data.append({"input_ids": torch.full((16,), 10 + label), "labels": label})
    trainer = Trainer(BertForSequenceClassification(config), arguments, train_dataset=data)
    result = trainer.train()
    trainer.save_model()
    if trainer.is_world_process_zero():
        print(f"world={arguments.world_size} loss={result.training_loss:.4f}")


if __name__ == "__main__":
    main()
