"""The keys that every plugin instance has, and the base of each plugin's own model."""

from typing import Annotated, Any, ClassVar, Final

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from aintandem_notify.config.types.context import ValidationContext, in_config
from aintandem_notify.config.types.values import Duration, EventGlob, Expression, PositiveDuration, Rate
from aintandem_notify.domain.notification import Severity

NEVER: Final = 0
"""The Python value of ``digest_over = "never"``."""
MAX_DIGEST_OVER: Final = 1_000_000_000
"""The largest ``digest_over``; our limit, more than any queue holds."""

MAX_PARALLEL: Final = 256
"""The largest ``parallel``; our limit. Each takes a connection, and may be repeated after a kill."""


def _digest_over(value: object, info: ValidationInfo[Any]) -> int | None:
    if type(value) is int and value == NEVER and not in_config(info):
        return NEVER
    if value is None or value == "never":
        return None if value is None else NEVER
    if isinstance(value, int) and not isinstance(value, bool) and 2 <= value <= MAX_DIGEST_OVER:
        return value
    if type(value) is int and value > MAX_DIGEST_OVER:
        raise ValueError(f'should be at most {MAX_DIGEST_OVER}, or "never"')
    raise ValueError('should be a whole number of at least 2, or "never"')


DigestOver = Annotated[
    int,
    BeforeValidator(_digest_over),
    WithJsonSchema({"anyOf": [{"const": "never"}, {"type": "integer", "minimum": 2}]}),
]
"""A number of deliveries; written as ``50`` or ``"never"``."""


class PluginConfig(BaseModel):
    """One ``[plugins.<type>.<name>]`` table. Plugins add their own keys in a subclass."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    enabled: StrictBool = Field(True, description="false ignores the instance, as if it had no table")
    events: Annotated[tuple[EventGlob, ...], Field(min_length=1)] | None = Field(
        None,
        description=(
            "event globs; give the instance a rule of its own, or filter the events of a plugin without deliver"
        ),
    )
    projects: Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        None,
        description=(
            "globs over project id and name; need events, or filter the events of a plugin without deliver"
        ),
    )
    when: Expression | None = Field(None, description="a Jinja2 expression; needs events")
    severity: Severity | None = Field(
        None, description="the severity of the instance's own rule; by default that of the event type"
    )
    mention: tuple[str, ...] = Field(
        (), description="people that the instance's own rule mentions; each is a Jinja2 template"
    )
    quiet: str | None = Field(
        None, description="the name of a table [quiet.NAME]: hours in which notifications wait"
    )
    timeout: PositiveDuration = Field(30.0, description="how long one delivery or hook call may take")
    rate: Rate | None = Field(None, description='the largest rate of deliveries, as "1/s"; unlimited by default')
    parallel: Annotated[StrictInt, Field(ge=1, le=MAX_PARALLEL)] | None = Field(
        None,
        description=(
            "how many deliveries may run at a time, never two of the same run; by default as the plugin sets it, "
            "and 1 if it sets nothing"
        ),
    )
    max_age: Duration | None = Field(
        None, description="deliveries that wait longer are given up; by default [delivery] max_age"
    )
    fallback: str | None = Field(
        None,
        description="the destination for deliveries that die here or wait longer than fallback_after",
    )
    fallback_after: PositiveDuration = Field(
        900.0, description="how long a delivery may wait before fallback takes over"
    )
    digest_over: DigestOver | None = Field(
        None,
        description=(
            "if more than this wait after an outage, the oldest that are no errors are sent as one summary; "
            '"never" disables it; by default as the plugin sets it, and 50 if it sets nothing'
        ),
    )

    # Not in the type of the key: plugins repeat that type where they set a default.
    @field_validator("mention")
    @classmethod
    def _check_templates(cls, mention: tuple[str, ...], info: ValidationInfo[Any]) -> tuple[str, ...]:
        language = ValidationContext.of(info).language
        for text in mention:
            if language is not None and (problem := language.template_problem(text)) is not None:
                raise ValueError(problem)
        return mention
