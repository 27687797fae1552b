"""The Hugging Face Trainer: a ViT gets a fixed head, is trained, saved, and loaded again.

Needs: pip install transformers accelerate
Run: python examples/hf_trainer.py
"""

from __future__ import annotations

import tempfile

import torch
from digits import CLASSES, digits
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments, ViTConfig, ViTForImageClassification, set_seed

from fixhead.heads.swap import swap_head

CONFIG = ViTConfig(
    image_size=8, patch_size=2, num_channels=1, hidden_size=64, num_hidden_layers=2,
    num_attention_heads=4, intermediate_size=128, num_labels=CLASSES,
)  # fmt: skip


class Images(Dataset):
    """Rows as the Trainer wants them: keyword arguments of the model."""

    def __init__(self, data: tuple[Tensor, Tensor]) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data[0])

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"pixel_values": self.data[0][index], "labels": self.data[1][index]}


def right(prediction) -> dict[str, float]:
    return {"accuracy": float((prediction.predictions.argmax(1) == prediction.label_ids).mean())}


def model_with_fixed_head() -> ViTForImageClassification:
    model = ViTForImageClassification(CONFIG)
    print(swap_head(model, "simplex"))
    return model


def main() -> float:
    set_seed(0)
    train, test = digits()
    model = model_with_fixed_head()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, num_train_epochs=6, per_device_train_batch_size=32,
            learning_rate=2e-3, report_to="none", use_cpu=True, disable_tqdm=True,
            save_strategy="no", dataloader_pin_memory=False,
        )  # fmt: skip
        trainer = Trainer(
            model, arguments, train_dataset=Images(train), eval_dataset=Images(test),
            compute_metrics=right,
        )  # fmt: skip
        trainer.train()
        accuracy = trainer.evaluate()["eval_accuracy"]
        # ``save_pretrained`` writes names of its own and knows plain heads only, so the state_dict
        # is saved as it is. Loading: build the model, swap the same head in, load the weights.
        save_file(model.state_dict(), f"{folder}/model.safetensors")
        again = model_with_fixed_head()
        again.load_state_dict(load_file(f"{folder}/model.safetensors"))
    with torch.no_grad():
        assert torch.equal(again.eval()(test[0]).logits, model.eval()(test[0]).logits)
    print(f"test accuracy {accuracy:.3f}, and the same logits after loading")
    return accuracy


if __name__ == "__main__":
    main()
