"""The one frozen tree of settings. Each attribute docstring is the comment `seedbed init` writes above its key."""

from enum import StrEnum
from ipaddress import ip_address
from typing import Annotated, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from seedbed.core.addresses import host_of, is_refused
from seedbed.core.diversity import DiversityConfig
from seedbed.core.filter_config import FiltersConfig
from seedbed.core.recipe_config import (
    AnswerConfig,
    ChainOfThoughtConfig,
    ChecksConfig,
    EvolveConfig,
    RefusalConfig,
    UnanswerableConfig,
)
from seedbed.core.retention import RetentionConfig
from seedbed.core.section import Section, Share

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}$")]

Parameter = Literal["max_tokens", "temperature", "top_p", "presence_penalty", "frequency_penalty", "stop"]


def _http_url(value: str) -> str:
    if value and not value.startswith(("http://", "https://")):
        raise ValueError("must start with http:// or https://")
    if value and not host_of(value):
        raise ValueError("must name a host, as in http://127.0.0.1:8000/v1")
    if is_refused(host_of(value)):
        raise ValueError("names a link-local or metadata address, where no model server is asked")
    return value.rstrip("/")


def _pool_url(value: str) -> str:
    if value == "sqlite":
        return value
    if not value.startswith("postgresql+psycopg://"):
        raise ValueError("must be sqlite, or start with postgresql+psycopg://")
    parts = urlsplit(value)
    if parts.password is not None or "password" in parse_qs(parts.query):
        raise ValueError("holds a password: put that into an environment variable and name it in pool.password_env")
    return value


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class EndpointConfig(Section):
    """One model server."""

    name: Name
    """How the other settings call it."""
    managed: Literal["", "llama.cpp", "vllm"] = ""
    """Seedbed starts and stops the server itself: "llama.cpp" (CPU, extra `local`) or "vllm". Empty: it runs."""
    base_url: Annotated[str, AfterValidator(_http_url)] = ""
    """Where it answers, with the version path: http://127.0.0.1:8000/v1. Leave out where managed."""
    model: str = ""
    """The model name to ask for. For a managed server: the weights it serves, by name or path."""
    api_key_env: str = ""
    """The NAME of the environment variable that holds the key; never the key itself."""
    weights: str = ""
    """What a server of yours serves, if adapters may be loaded into it. A managed one knows."""
    adapters_folder: str = ""
    """Where it sees the workspace's `adapters/`, if elsewhere (in a container). Empty: at the same path."""
    shares_gpu: bool = False
    """A vLLM on the GPU that trains: it sleeps meanwhile. Needs its development mode: loopback (docs/serving.md)."""
    transport: Literal["aiohttp", "openai"] = "aiohttp"
    """`aiohttp` is the fast path; `openai` is the SDK, for its ways of authentication."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Its part of the work among several endpoints of one role."""
    max_in_flight: Annotated[int, Field(ge=1, le=100_000)] = 64
    """Requests at once, at most. A managed llama.cpp server gains nothing past 16 on 2 cores."""
    requests_per_minute: Annotated[int, Field(ge=0)] = 0
    """0: no limit of ours."""
    tokens_per_minute: Annotated[int, Field(ge=0)] = 0
    """Prompt and completion together. 0: no limit of ours."""
    licence: str = ""
    """Of the model, as data set cards name it: "apache-2.0". Known where Seedbed knows the weights."""
    terms: str = ""
    """What its provider says of texts that it writes, in a line or as a link; for data set cards."""
    price_per_million_prompt_tokens: Annotated[float, Field(ge=0)] = 0.0
    """In the currency of `[budget]`."""
    price_per_million_completion_tokens: Annotated[float, Field(ge=0)] = 0.0
    """In the currency of `[budget]`."""
    parameters: dict[Parameter, str] = Field(default={})
    """Sampling parameters by the server's own names, "" for none: max_tokens = "max_completion_tokens"."""
    connect_timeout_s: Annotated[float, Field(gt=0)] = 10.0
    """Seconds until the connection stands."""
    first_byte_timeout_s: Annotated[float, Field(gt=0)] = 600.0
    """Seconds from sending to the first byte; an unstreamed answer comes whole, so this is the thinking time."""
    total_timeout_s: Annotated[float, Field(gt=0)] = 900.0
    """Seconds for the whole exchange."""
    max_response_bytes: Annotated[int, Field(ge=1024)] = 16_000_000
    """A larger answer is cut off and counted as a fault."""
    context_tokens: Annotated[int, Field(ge=512)] = 4096
    """Managed llama.cpp only: tokens of context for each request in flight."""
    threads: Annotated[int, Field(ge=0)] = 0
    """Managed llama.cpp only: threads; 0 takes the machine's cores."""
    python: str = ""
    """Managed vllm only: the Python of the environment that has vLLM, since vLLM pins its own torch."""
    arguments: tuple[str, ...] = ()
    """Managed servers only: further arguments for its command line."""
    environment: dict[str, str] = Field(default={})
    """Managed servers only: further environment variables. No secrets here."""

    @model_validator(mode="after")
    def _says_where(self) -> "EndpointConfig":
        if not self.managed and not self.base_url:
            raise ValueError(f'endpoint "{self.name}" needs base_url, or managed = "llama.cpp" or "vllm"')
        if self.managed and self.base_url:
            raise ValueError(f'endpoint "{self.name}" is managed, so base_url is chosen by Seedbed: remove one')
        if not self.model:
            raise ValueError(f'endpoint "{self.name}" needs model')
        if self.shares_gpu and self.managed:
            raise ValueError(
                f'endpoint "{self.name}" is managed, so its server is stopped while an adapter is trained: '
                "remove shares_gpu"
            )
        if self.shares_gpu and not _is_loopback(self.base_url):
            raise ValueError(
                f'endpoint "{self.name}": shares_gpu needs vLLM\'s development mode, whose routes ask for no key; '
                f"it is for servers on loopback only, got {self.base_url}"
            )
        return self


class PoolConfig(Section):
    """The pool of accepted rows, and when it starts a training."""

    url: Annotated[str, AfterValidator(_pool_url)] = "sqlite"
    """`sqlite` is a file in the workspace; postgresql+psycopg://USER@HOST/DATABASE a server (docs/postgres.md)."""
    password_env: str = ""
    """The NAME of the environment variable that holds the server's password; never the password itself."""
    may_lead: bool = True
    """On a server: whether `serve` and `run` may lead the pool, or only generate for the service that does."""
    first_target: Annotated[int, Field(ge=1)] = 1000
    """Accepted rows that start the first training."""
    step: Annotated[int, Field(ge=1)] = 1000
    """Further accepted rows for each next one."""
    validation_share: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    """Share of a snapshot's tasks kept from training, for the validation loss."""


class SeedsConfig(Section):
    """Human-written tasks and their categories."""

    tasks: str = "seeds/seed_tasks.jsonl"
    """Seed tasks, relative to the workspace; JSON lines of id, category, instruction, input, output."""
    categories: str = "seeds/categories.toml"
    """Categories with base shares, and which are held out."""


class GenerationConfig(Section):
    """What is asked, how, and how much at once."""

    generate_with: Literal["teacher", "promoted"] = "teacher"
    """Who writes new rows: the teacher's base, or the adapter in service where the teacher serves it."""
    recipes: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default={
            "alpaca": 3.0,
            "self_instruct": 1.0,
            "evolve": 1.0,
            "chain_of_thought": 3.0,
            "refusal": 1.0,
            "unanswerable": 1.0,
        }
    )
    """Recipe to weight among those that serve a category: 5% chain of thought, 3% safety, 2% unanswerable rows."""
    verify_category: Literal["seeds", "off"] = "seeds"
    """Who tells a row's category: a classifier learned from the seed tasks, or nobody (docs/recipes.md)."""
    share_move: Annotated[float, Field(ge=1, le=4)] = 1.5
    """Most by which an evaluation multiplies or divides a category's share (weak ones get more rows); 1: never."""
    human_demonstrations: Annotated[int, Field(ge=0, le=32)] = 6
    """Seed tasks shown in a `self_instruct` proposal (paper: 6)."""
    machine_demonstrations: Annotated[int, Field(ge=0, le=32)] = 2
    """Accepted rows shown in a `self_instruct` proposal (paper: 2)."""
    alpaca_demonstrations: Annotated[int, Field(ge=1, le=32)] = 3
    """Triples shown in an `alpaca` request (paper: 3)."""
    triples_per_request: Annotated[int, Field(ge=1, le=20)] = 3
    """Triples asked for in an `alpaca` request, each on a subject of its own (paper: 20; small models stray past 3)."""
    proposals_per_request: Annotated[int, Field(ge=1, le=20)] = 8
    """Instructions asked for in a `self_instruct` proposal."""
    instances_per_task: Annotated[int, Field(ge=1, le=5)] = 1
    """Instances kept of one proposed instruction (paper: at most 5)."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    """Sampling temperature (Alpaca 1.0, Self-Instruct 0.7)."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Nucleus (Alpaca 1.0, Self-Instruct 0.5)."""
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    """Self-Instruct took 2 with GPT-3; 0 for models of today."""
    max_tokens: Annotated[int, Field(ge=16)] = 768
    """Tokens a request may write. Three triples of a small model take 130 to 430; what runs on for ever costs this."""
    use_json_schema: Literal["auto", "always", "never"] = "auto"
    """`auto` asks the probe. A small model with a schema yields far more novel triples than from free text."""
    concurrency: Annotated[int, Field(ge=0, le=100_000)] = 0
    """Recipes running at once. 0: a quarter more than the teachers' `max_in_flight`, since some wait for the disk."""
    max_attempts: Annotated[int, Field(ge=1)] = 6
    """Tries of one request before it is set aside with its reason."""
    max_fruitless_requests: Annotated[int, Field(ge=1)] = 400
    """Stop with an error after so many requests in a row without one accepted row."""
    drain_grace_s: Annotated[float, Field(ge=0)] = 60.0
    """Seconds that requests in flight may take to end after Ctrl-C; a second one stops at once."""
    seed: int = 0
    """For the choice of demonstrations and categories. Never sent to a server."""
    chain_of_thought: ChainOfThoughtConfig = ChainOfThoughtConfig()
    evolve: EvolveConfig = EvolveConfig()
    refusal: RefusalConfig = RefusalConfig()
    unanswerable: UnanswerableConfig = UnanswerableConfig()
    answer: AnswerConfig = AnswerConfig()
    checks: ChecksConfig = ChecksConfig()


class TrainingTemplate(StrEnum):
    """The forms a training text may take."""

    ALPACA = "alpaca"
    CHAT = "chat"
    MIXED = "mixed"


class TrainingConfig(Section):
    """How an adapter is made."""

    backend: Literal["seedbed", "hf"] = "seedbed"
    """`hf` trains by Hugging Face's Trainer, padded and slower, for students that FSDP or DeepSpeed must shard."""
    hf_arguments: dict[str, str | int | float | bool] = Field(default={})
    """For `hf`: handed to its TrainingArguments, such as { fsdp = "full_shard" } or { deepspeed = "zero3.json" }."""
    template: TrainingTemplate = TrainingTemplate.MIXED
    """`alpaca`, `chat` (the tokenizer's own), or `mixed`: several forms, so that no one wording is learned."""
    rank: Annotated[int, Field(ge=1)] = 16
    """LoRA r. vLLM serves up to 16 unless told otherwise."""
    alpha: Annotated[int, Field(ge=1)] = 32
    """LoRA alpha."""
    learning_rate: Annotated[float, Field(gt=0)] = 2e-4
    """About ten times that of full fine-tuning, whatever the rank (LoRA Without Regret); 2e-4 is conservative."""
    epochs: Annotated[float, Field(gt=0)] = 3.0
    """Passes over the snapshot (Alpaca: 3)."""
    max_steps: Annotated[int, Field(ge=0)] = 0
    """Stop after so many optimiser steps; 0: no limit."""
    batch_rows: Annotated[int, Field(ge=1)] = 16
    """Rows in an optimiser step."""
    micro_batch_rows: Annotated[int, Field(ge=1)] = 4
    """Rows in a forward pass where rows are padded; the gradient is summed up to `batch_rows`."""
    packing: bool = True
    """Lay rows one after the other, isolated, instead of padding them; off by itself where a model is unproven."""
    micro_batch_tokens: Annotated[int, Field(ge=0)] = 0
    """Tokens in a packed forward pass. 0: 1024 on a CPU (6 GB with 0.5B), on a GPU as many as fit, up to 32,768."""
    chunked_loss: bool = True
    """Never build the logits of a whole batch: the head sees the trained tokens only, a few at a time."""
    attention: Literal["auto", "sdpa"] = "auto"
    """Of packed rows. `auto`: torch's varlen kernel where the GPU has it and it agrees with SDPA, else SDPA."""
    fused_lora: bool = True
    """Compute LoRA's products without float32 copies of activations; PEFT's own way where a model is unproven."""
    kernels: Literal["auto", "off"] = "auto"
    """`auto`: Liger's kernels on a GPU, where installed and proven on the model; `off`: eager torch."""
    activation_checkpointing: Literal["auto", "on", "off"] = "auto"
    """Compute layers again instead of keeping them. `auto`: where a pass would not fit, or after one did not."""
    max_length: Annotated[int, Field(ge=32)] = 1024
    """Tokens of a row; a longer row is dropped and counted, never cut."""
    warmup_share: Share = 0.03
    """Share of the steps with a rising rate."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the rate falls."""
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    """Largest norm of the gradient."""
    prompt_loss_weight: Share = 0.0
    """Weight of the prompt's tokens in the loss; a little helps where outputs are short (arXiv 2405.14394)."""
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """Of the frozen base; adapters are float32. `auto`: bfloat16, but float32 on a CPU without AVX-512."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes a GPU where there is one."""
    threads: Annotated[int, Field(ge=0)] = 0
    """CPU threads; 0 takes the machine's cores."""
    seed: int = 0
    """Of the order of rows and the initial adapter."""
    checkpoint_every_steps: Annotated[int, Field(ge=1)] = 20
    """Optimiser steps between checkpoints."""
    evaluate_every_steps: Annotated[int, Field(ge=1)] = 20
    """Optimiser steps between validation losses."""
    trackers: tuple[Literal["tensorboard", "trackio", "wandb", "mlflow"], ...] = ("tensorboard",)
    """Where the numbers of a run go too; the last three need their own package and settings in the environment."""
    max_attempts: Annotated[int, Field(ge=1)] = 3
    """Attempts at one round before it is given up and the alarm stands."""
    hung_after_s: Annotated[float, Field(ge=0)] = 3600.0
    """Seconds without a line in its log or a changed file after which a trainer is ended and tried again; 0: never."""


class EvaluationConfig(Section):
    """What an adapter must show."""

    sets: tuple[str, ...] = ()
    """Your own held-out sets beside the seeds': JSON lines of task, category, definition, input, references, checks."""
    max_rows_per_task: Annotated[int, Field(ge=1)] = 100
    """Of your sets; the first so many."""
    max_new_tokens: Annotated[int, Field(ge=1)] = 128
    """Longest answer, in tokens."""
    batch_rows: Annotated[int, Field(ge=1)] = 8
    """Rows decoded at once."""
    min_rows: Annotated[int, Field(ge=1)] = 500
    """Fewer held-out rows are never enough to promote. 500 rows show 5.6 points (80% power, discordance 0.2)."""
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The 95% interval of (adapter - base) must lie above minus this."""
    bootstrap_draws: Annotated[int, Field(ge=100)] = 10_000
    """Draws of the paired bootstrap, clustered by task."""
    unseen_form: bool = True
    """Ask the adapter also in the form that no training uses, and report what that costs: a third more time."""
    judge_answers: bool = False
    """Let the endpoint that `judge` names compare each answer of the adapter with the base's, in both orders."""
    trained_rows: Annotated[int, Field(ge=0)] = 100
    """Rows of `val.jsonl` scored too, for the target shares; 0: none."""
    hung_after_s: Annotated[float, Field(ge=0)] = 3600.0
    """Seconds without a line in its log or a changed file after which an evaluation is ended; 0: never."""


class BudgetConfig(Section):
    """A hard stop that still writes everything down."""

    max_tokens: Annotated[int, Field(ge=0)] = 0
    """Prompt and completion tokens of all endpoints together; 0: no limit."""
    max_cost: Annotated[float, Field(ge=0)] = 0.0
    """In your currency, by the prices of the endpoints; 0: no limit."""


class AlarmsConfig(Section):
    """What the operator is told of without looking."""

    webhook_env: str = ""
    """The NAME of the environment variable that holds a URL; alarms are posted there as JSON with a `text`."""
    endpoint_down_s: Annotated[float, Field(ge=0)] = 60.0
    """An endpoint that answers nothing for so long is an alarm."""
    budget_share: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Share of a budget at which it is near its end."""
    acceptance_window: Annotated[int, Field(ge=20)] = 500
    """Candidates whose acceptance is compared with that of as many earlier ones or more."""
    acceptance_fall: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Acceptance below this part of the earlier one is an alarm."""


class ServiceConfig(Section):
    """The HTTP service."""

    host: str = "127.0.0.1"
    """Loopback. Any other needs a token and allowed hosts."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8377
    """0 takes a free one."""
    allowed_hosts: tuple[str, ...] = ()
    """Names by which it may be asked beside loopback's: what your proxy passes as Host, without the port."""
    token_env: str = ""
    """The NAME of the environment variable that holds a token of yours, 32 characters or more; empty: one a run."""


class TelemetryConfig(Section):
    """Traces of single requests, by OpenTelemetry (extra `tracing`, docs/operation.md); metrics need none of it."""

    otlp_endpoint: Annotated[str, AfterValidator(_http_url)] = ""
    """Collector that takes OTLP over HTTP: http://127.0.0.1:4318. Empty: OTEL_EXPORTER_OTLP_ENDPOINT's, or none."""


def _names(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else (value,) if value else ()


class Config(Section):
    """All settings of a workspace, `seedbed.toml`."""

    teacher: str | tuple[str, ...] = ""
    """The endpoint that writes new rows; a list of names shares the work among several."""
    judge: str = ""
    """The endpoint that marks rows (generation.checks.grade_rows) and compares answers (evaluation.judge_answers)."""
    student: str = "qwen2.5-coder-0.5b"
    """The trainable weights, by name or path."""
    serving: str = ""
    """The endpoint that promoted adapters are loaded into, where it serves the student's base (docs/serving.md)."""
    accept_licence: tuple[str, ...] = ()
    """Licences you have read and accept, for weights that ask for it: "gemma"."""
    endpoints: tuple[EndpointConfig, ...] = ()
    """The model servers."""
    pool: PoolConfig = PoolConfig()
    seeds: SeedsConfig = SeedsConfig()
    generation: GenerationConfig = GenerationConfig()
    filters: FiltersConfig = FiltersConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    budget: BudgetConfig = BudgetConfig()
    alarms: AlarmsConfig = AlarmsConfig()
    diversity: DiversityConfig = DiversityConfig()
    retention: RetentionConfig = RetentionConfig()
    service: ServiceConfig = ServiceConfig()
    telemetry: TelemetryConfig = TelemetryConfig()

    @model_validator(mode="after")
    def _names_are_known(self) -> "Config":
        names = [endpoint.name for endpoint in self.endpoints]
        for twice in {name for name in names if names.count(name) > 1}:
            raise ValueError(f'two endpoints are named "{twice}"; names must differ')
        for role in ("teacher", "judge", "serving"):
            for wanted in _names(getattr(self, role)):
                if wanted not in names:
                    known = ", ".join(names) or "none is configured"
                    raise ValueError(f'{role} = "{wanted}" names no endpoint ({known})')
        if self.generation.checks.grade_rows and not self.judge:
            raise ValueError("generation.checks.grade_rows is on, and judge names no endpoint to grade with")
        if self.generation.generate_with == "promoted":
            if self.serving not in self.teachers:
                raise ValueError('generation.generate_with = "promoted" needs serving to name an endpoint of teacher')
            if self.endpoint(self.serving).managed == "vllm":
                raise ValueError(
                    'generation.generate_with = "promoted" needs an adapter before the first request, and a managed '
                    'vLLM has it later; run the vLLM yourself, or set managed = "llama.cpp"'
                )
        if self.evaluation.judge_answers and not self.judge:
            raise ValueError("evaluation.judge_answers is on, and judge names no endpoint to compare answers with")
        if self.filters.quality.is_on and not self.generation.checks.grade_rows:
            raise ValueError(
                "filters.quality has a least mark, and nobody gives marks: set generation.checks.grade_rows = true"
            )
        if len(set(self.teachers)) < len(self.teachers):
            raise ValueError(f"teacher names an endpoint twice: {', '.join(self.teachers)}; use its weight instead")
        return self

    @property
    def teachers(self) -> tuple[str, ...]:
        """The names of the endpoints that write new rows, none where none is set."""
        return _names(self.teacher)

    def endpoint(self, name: str) -> EndpointConfig:
        """Return the endpoint of that name; the tree's own check has made sure that roles name one."""
        return next(endpoint for endpoint in self.endpoints if endpoint.name == name)


class Secrets(BaseModel):
    """Keys read from the environment; never part of the config tree, so never written anywhere."""

    model_config = ConfigDict(frozen=True)

    api_keys: dict[str, SecretStr] = {}
    """Endpoint name to key."""
    service_token: SecretStr | None = None
    """Opens the HTTP service; None: each run makes one."""
    webhook: SecretStr | None = None
    """Where alarms are posted; such a URL carries its own key."""
