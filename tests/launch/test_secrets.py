"""A recipe with a secret in it is refused where a library would write it, and no message says the secret."""

from collections.abc import Callable

import pytest

from launch.load import load
from launch.problems import RecipeError
from launch.start import Options, launch
from launch.tables import Tables

Write = Callable[..., str]
SECRET = "hunter2-Kaninchen"
PLAIN = "stage: sft\nmodel: {path: x}\ndata: {train: [{source: sql}]}\n"
REFUSED = [
    (f"train.hub_token={SECRET}", "hf auth login"),
    ("train.push_to_hub=true", "hf upload"),
    ("train.hub_model_id=me/mine", "hf upload"),
    ("train.hub_strategy=end", "hf upload"),
    ("train.hub_private_repo=true", "hf upload"),
    ("train.hub_always_push=true", "hf upload"),
    ("train.hub_revision=x", "hf upload"),
    (f"model.hf_token={SECRET}", "hf auth login"),
    (f"model.use_auth_token={SECRET}", "hf auth login"),
    (f"hub_token={SECRET}", "hf auth login"),
    (f"track.wandb.api_key={SECRET}", ""),
    (f"track.wandb.wandb_api_key={SECRET}", "wandb login"),
    (f"track.wandb.name=https://u:{SECRET}@host", "wandb login"),
    (f"data.train.0.token={SECRET}", ""),
    (f"data.train.0.storage_options={{key: a, secret: {SECRET}}}", ""),
    (f"eval.retain=[{{task: pocket, api_key: {SECRET}}}]", ""),
    (f"train.optim_args=token={SECRET}", "training_args.bin"),
    (f"train.lr_scheduler_kwargs={{api_key: {SECRET}}}", "training_args.bin"),
    (f"train.lr_scheduler_kwargs={{credentials: {{user: {SECRET}}}}}", "training_args.bin"),
    (f"model.chat_template_kwargs={{api_key: {SECRET}}}", "environment"),
    (f"model.chat_template_kwargs={{headers: {{Authorization: Bearer {SECRET}}}}}", "environment"),
    (f"model.path=https://user:{SECRET}@host/model", "hf auth login"),
    (f"launch.sbatch={{export: 'ALL,HF_TOKEN={SECRET}'}}", "export: ALL"),
    (f"launch.sbatch={{comment: 'https://u:{SECRET}@host'}}", "export: ALL"),
    (f"adapter={{kind: lora, password: {SECRET}}}", ""),
    (f"train.learning_rate={{password: {SECRET}}}", ""),
    (f"train.hub_token=[{SECRET}", ""),
    (f"train.hub_token.deeper={SECRET}", ""),
    (f"--token={SECRET}", ""),
]


@pytest.mark.parametrize(("word", "remedy"), REFUSED, ids=[word.partition("=")[0] for word, _ in REFUSED])
def test_a_secret_is_refused_without_being_said(recipe: Write, word: str, remedy: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load(recipe(PLAIN), [word])
    assert SECRET not in str(caught.value) and remedy in str(caught.value)
    assert word.partition("=")[0].partition(".")[0] in str(caught.value)
    assert not any(SECRET in str(problem) for problem in caught.value.problems)


def test_a_servers_address_with_its_password_is_refused(recipe: Write) -> None:
    """Training arguments are pickled into every checkpoint."""
    text = "stage: rlvr\nmodel: {path: x}\nmethod: {name: dapo}\ndata: {train: [{source: curriculum}]}\n"
    words = [
        f"train.vllm_server_base_url=http://u:{SECRET}@host:8000",
        f"train.generation_kwargs={{api_key: {SECRET}}}",
    ]
    with pytest.raises(RecipeError) as caught:
        load(recipe(text), words)
    assert [problem.path for problem in caught.value.problems] == [
        "train.vllm_server_base_url", "train.generation_kwargs.api_key",
    ]  # fmt: skip
    assert SECRET not in str(caught.value) and "netrc" in str(caught.value)


def test_a_deepspeed_file_with_a_secret_is_refused(recipe: Write) -> None:
    file = recipe(f'{{"comet": {{"enabled": true, "api_key": "{SECRET}"}}}}', "ds.json")
    with pytest.raises(RecipeError, match="holds a secret") as caught:
        load(recipe(PLAIN), [f"deepspeed={file}"])
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("value", ["$HF_TOKEN", "null", "${HF_TOKEN}"])
def test_a_variables_name_is_no_secret(recipe: Write, value: str) -> None:
    load(recipe(PLAIN), [f"launch.sbatch={{comment: 'HF_TOKEN={value}'}}"])


@pytest.mark.parametrize("launcher", ["slurm", "torchrun"])
def test_a_printed_command_never_shows_a_secret(recipe: Write, tables: Tables, launcher: str) -> None:
    """It cannot be masked: it is there to be run."""
    words = [f"data.train.0.system=https://u:{SECRET}@host"]
    with pytest.raises(RecipeError) as caught:
        launch(str(recipe(PLAIN)), words, Options(nproc="1", launcher=launcher), show=True)
    assert SECRET not in str(caught.value)


def test_overrides_are_kept_masked(recipe: Write) -> None:
    made = load(recipe(PLAIN), [f"data.train.0.system=https://u:{SECRET}@host/x"])
    assert SECRET not in " ".join(made.overrides) and SECRET not in " ".join(made.resolved["overrides"])
