from aintandem_notify.api import (
    Clock as Clock,
)
from aintandem_notify.api import (
    ConnectionEvent as ConnectionEvent,
)
from aintandem_notify.api import (
    DestinationBroken as DestinationBroken,
)
from aintandem_notify.api import (
    Duration as Duration,
)
from aintandem_notify.api import (
    Event as Event,
)
from aintandem_notify.api import (
    Field as Field,
)
from aintandem_notify.api import (
    FilePath as FilePath,
)
from aintandem_notify.api import (
    HttpAnswer as HttpAnswer,
)
from aintandem_notify.api import (
    HttpClient as HttpClient,
)
from aintandem_notify.api import (
    HttpFailed as HttpFailed,
)
from aintandem_notify.api import (
    Notification as Notification,
)
from aintandem_notify.api import (
    Plugin as Plugin,
)
from aintandem_notify.api import (
    PluginConfig as PluginConfig,
)
from aintandem_notify.api import (
    PluginContext as PluginContext,
)
from aintandem_notify.api import (
    PluginNotReady as PluginNotReady,
)
from aintandem_notify.api import (
    Project as Project,
)
from aintandem_notify.api import (
    Rate as Rate,
)
from aintandem_notify.api import (
    Receipt as Receipt,
)
from aintandem_notify.api import (
    Rejected as Rejected,
)
from aintandem_notify.api import (
    RetryLater as RetryLater,
)
from aintandem_notify.api import (
    Run as Run,
)
from aintandem_notify.api import (
    RunState as RunState,
)
from aintandem_notify.api import (
    SandboxEvent as SandboxEvent,
)
from aintandem_notify.api import (
    Secret as Secret,
)
from aintandem_notify.api import (
    Severity as Severity,
)
from aintandem_notify.api import (
    TaskEvent as TaskEvent,
)
from aintandem_notify.api import (
    WorkflowEvent as WorkflowEvent,
)
from aintandem_notify.api import (
    describe_duration as describe_duration,
)
from aintandem_notify.api import (
    hookimpl as hookimpl,
)
from aintandem_notify.api import (
    redact as redact,
)
from aintandem_notify.errors import (
    AInTandemNotifyError as AInTandemNotifyError,
)
from aintandem_notify.errors import (
    ApiError as ApiError,
)
from aintandem_notify.errors import (
    AuthenticationFailed as AuthenticationFailed,
)
from aintandem_notify.errors import (
    ConfigError as ConfigError,
)
from aintandem_notify.errors import (
    Conflict as Conflict,
)
from aintandem_notify.errors import (
    Forbidden as Forbidden,
)
from aintandem_notify.errors import (
    InvalidRequest as InvalidRequest,
)
from aintandem_notify.errors import (
    LinkLost as LinkLost,
)
from aintandem_notify.errors import (
    LinkRefused as LinkRefused,
)
from aintandem_notify.errors import (
    NotFound as NotFound,
)
from aintandem_notify.errors import (
    OrchestratorError as OrchestratorError,
)
from aintandem_notify.errors import (
    Outcome as Outcome,
)
from aintandem_notify.errors import (
    PluginError as PluginError,
)
from aintandem_notify.errors import (
    Problem as Problem,
)
from aintandem_notify.errors import (
    ProjectGone as ProjectGone,
)
from aintandem_notify.errors import (
    ServerTrouble as ServerTrouble,
)
from aintandem_notify.errors import (
    StoreError as StoreError,
)

__version__: str
