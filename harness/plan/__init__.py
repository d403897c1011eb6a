"""What to run: frozen values that describe one storm, each with a hash of its content, and plans made of them.

A :class:`Trial` is composed of a :class:`Server`, a :class:`Front` before it, a :class:`Load`, a a :class:`Placement`,
:class:`Faults` and a :class:`Kernel`; a load says with :class:`Retries` what its clients do when an attempt fails.
Nothing here touches the machine; a value that cannot mean anything is refused when it is made.
"""

from harness.plan.content import content_hash
from harness.plan.experiment import PLANS, Plan, load_plan
from harness.plan.faults import Faults
from harness.plan.files import read_variants
from harness.plan.front import Front
from harness.plan.kernel import Kernel
from harness.plan.load import MAX_REQUESTS, Load
from harness.plan.option import MAX_SECONDS
from harness.plan.options import OPTIONS, trial_from_options, typed, value_of
from harness.plan.placement import Placement
from harness.plan.retries import Retries
from harness.plan.server import Allocator, Ready, Server
from harness.plan.trial import Trial

__all__ = [
    "MAX_REQUESTS",
    "MAX_SECONDS",
    "OPTIONS",
    "PLANS",
    "Allocator",
    "Faults",
    "Front",
    "Kernel",
    "Load",
    "Placement",
    "Plan",
    "Ready",
    "Retries",
    "Server",
    "Trial",
    "content_hash",
    "load_plan",
    "read_variants",
    "trial_from_options",
    "typed",
    "value_of",
]
