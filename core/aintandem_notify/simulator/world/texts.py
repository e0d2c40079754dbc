"""The texts of the simulated world: names, output and errors of tasks, workflows and sandboxes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a task and the lines that it prints."""

    name: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A kind of task: its steps, the file it makes (path, type, size in bytes), its result and its errors."""

    title: str
    steps: tuple[Step, ...]
    artifact: tuple[str, str, int]
    result: str
    errors: tuple[str, ...]


_CHECKOUT: Final = Step(
    "Prepare the workspace",
    ("Cloning into '/workspace'...", "HEAD is now at 4be91c7 Merge branch 'main'", "Workspace ready in 1.8 s"),
)

RECIPES: Final[Sequence[Recipe]] = (
    Recipe(
        "Analyse the sales data of last quarter",
        (
            _CHECKOUT,
            Step(
                "Load the data",
                (
                    "Reading sales/2024-Q4.parquet",
                    "1,284,310 rows, 14 columns",
                    "Dropped 312 rows without a customer",
                ),
            ),
            Step(
                "Compute the figures",
                ("Revenue by region ... done", "Churn by cohort ... done", "Largest change: EMEA -4.1 %"),
            ),
            Step("Write the report", ("Rendering report.md", "3 charts, 2 tables")),
        ),
        ("reports/sales-q4.md", "text/markdown", 18422),
        "Revenue grew by 6.2 %, EMEA shrank by 4.1 %; the report is in reports/sales-q4.md",
        (
            "ValueError: could not convert column 'amount' to float: 'n/a' (row 88201)",
            "MemoryError: the sandbox has 2 GiB, the join needs more",
        ),
    ),
    Recipe(
        "Fix the flaky checkout test",
        (
            _CHECKOUT,
            Step(
                "Reproduce the failure",
                (
                    "pytest tests/test_checkout.py --count 50",
                    "48 passed, 2 failed",
                    "Both fail in test_retry_payment",
                ),
            ),
            Step("Change the code", ("Edited shop/payment.py (+9 -4)", "Edited tests/test_checkout.py (+3 -11)")),
            Step(
                "Run the tests",
                ("collected 320 items", "tests/test_checkout.py ............", "320 passed in 41.2s"),
            ),
        ),
        ("patches/flaky-checkout.diff", "text/x-diff", 2310),
        "The retry raced with the timeout; 320 tests pass, 50 times in a row",
        (
            "AssertionError: expected status 200, got 502\n  tests/test_checkout.py:88 in test_retry_payment",
            "2 of 320 tests fail: test_retry_payment, test_refund_twice",
        ),
    ),
    Recipe(
        "Refactor the notification module",
        (
            _CHECKOUT,
            Step("Read the code", ("12 files, 1,940 lines", "4 callers outside of the module")),
            Step(
                "Split the module",
                ("Created notify/render.py", "Created notify/send.py", "Deleted notify/misc.py"),
            ),
            Step("Check types", ("mypy: Success: no issues found in 64 source files",)),
            Step("Run the tests", ("collected 211 items", "211 passed in 12.9s")),
        ),
        ("patches/notify-refactoring.diff", "text/x-diff", 31877),
        "Two modules instead of one, 118 lines fewer, all tests pass",
        (
            'mypy: error: Argument 1 to "send" has incompatible type "str | None"; expected "str" (7 errors)',
            "The agent gave up after 5 attempts: the tests in tests/test_digest.py still fail",
        ),
    ),
    Recipe(
        "Write the API documentation",
        (
            _CHECKOUT,
            Step("Collect the routes", ("Found 37 routes in 9 files", "5 routes have no docstring")),
            Step("Write the pages", ("docs/api/auth.md", "docs/api/tasks.md", "docs/api/workflows.md")),
            Step("Build the site", ("mkdocs build --strict", "Documentation built in 3.41 seconds")),
        ),
        ("site/index.html", "text/html", 9120),
        "37 routes documented on 9 pages",
        ("mkdocs: Aborted with 2 warnings in strict mode: 'api/tasks.md' links to 'limits.md', gone",),
    ),
    Recipe(
        "Upgrade the dependencies",
        (
            _CHECKOUT,
            Step("Look for new versions", ("14 outdated, 2 of them with security advisories",)),
            Step(
                "Upgrade one at a time",
                ("httpx 0.27.2 -> 0.28.1", "pydantic 2.9.2 -> 2.10.4", "trio 0.27 -> 0.28"),
            ),
            Step("Run the tests", ("collected 320 items", "320 passed in 44.0s")),
        ),
        ("requirements.lock", "text/plain", 14090),
        "14 packages upgraded, both advisories are closed",
        (
            "ResolutionImpossible: starlette 0.45 needs anyio<5, the lock file pins anyio 5.0",
            "Command 'pip-compile' ended with exit code 1: no network in the sandbox",
        ),
    ),
    Recipe(
        "Generate the weekly customer digest",
        (
            Step(
                "Fetch the tickets", ("GET https://support.example/api/tickets 200", "412 tickets, 31 still open")
            ),
            Step("Summarise", ("Model: 412 tickets in 9 batches", "Batch 9/9 done")),
            Step("Write the digest", ("digest/week-02.md: 640 words",)),
        ),
        ("digest/week-02.md", "text/markdown", 4388),
        "412 tickets in 640 words; the top topic is slow invoices",
        ("HTTP 429 from support.example: rate limit exceeded, retry after 3600 s",),
    ),
)


@dataclass(frozen=True, slots=True)
class Process:
    """A kind of workflow: its id, its phases with their output, its result, and its errors."""

    workflow_id: str
    name: str
    phases: tuple[tuple[str, str], ...]
    result: str
    errors: tuple[str, ...]


PROCESSES: Final[Sequence[Process]] = (
    Process(
        "release-pipeline",
        "Release pipeline",
        (
            ("Build", "image shop:2.4.0, 182 MB"),
            ("Test", "320 passed, coverage 91 %"),
            ("Deploy to staging", "3 services updated"),
            ("Deploy to production", "3 services updated, 0 restarts"),
        ),
        "released 2.4.0",
        (
            "Health check of shop-api timed out after 120 s (HTTP 503)",
            'Migration 0042_orders failed: column "state" already exists',
        ),
    ),
    Process(
        "nightly-review",
        "Nightly code review",
        (
            ("Collect changes", "27 commits by 6 people"),
            ("Review", "4 remarks, 1 of them serious"),
            ("Report", "posted to the pull requests"),
        ),
        "27 commits reviewed",
        ("The model refused the diff of vendor/: 2.1 MB is over the limit",),
    ),
    Process(
        "onboarding",
        "Customer onboarding",
        (
            ("Create the workspace", "workspace acme-eu created"),
            ("Import the data", "18,204 records, 12 skipped"),
            ("Verify", "all checks passed"),
        ),
        "acme-eu is ready",
        ("Import stopped at record 9,113: invalid date '2024-02-30'",),
    ),
)

IMAGES: Final = ("aintandem/flexy:2.1", "aintandem/flexy-node:20", "aintandem/flexy-python:3.12")

SANDBOX_ERRORS: Final = (
    "Container was killed: out of memory (limit 2 GiB)",
    "Health check failed 3 times: connection refused on port 8080",
    "No space left on device: /workspace is full (10 GiB)",
)

IMAGE_ERROR: Final = "Cannot pull the image: manifest unknown"
