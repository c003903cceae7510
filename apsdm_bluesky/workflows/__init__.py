"""Workflows: definitions, their files, variables, conditions and faults. Nothing here runs them."""

from ._check import MAX_STAGES, check, job_arguments
from ._conditions import Condition, parse_condition
from ._definition import LOCAL, Parallel, Repeat, Retries, Stage, Value, Variable, Workflow
from ._dm_format import parse_dm, read_dm, write_dm
from ._folder import working_folder
from ._outputs import MAX_OUTPUT, find_outputs, output_names
from ._script import shell_list
from ._shipped import shipped_workflows
from ._stage_check import Fault
from ._variables import RESERVED, argument_list, names_in, substitute
from ._yaml import format_workflow, load_workflow, parse_workflow

__all__ = [
    "LOCAL",
    "MAX_OUTPUT",
    "MAX_STAGES",
    "RESERVED",
    "Condition",
    "Fault",
    "Parallel",
    "Repeat",
    "Retries",
    "Stage",
    "Value",
    "Variable",
    "Workflow",
    "argument_list",
    "check",
    "find_outputs",
    "format_workflow",
    "job_arguments",
    "load_workflow",
    "names_in",
    "output_names",
    "parse_condition",
    "parse_dm",
    "parse_workflow",
    "read_dm",
    "shell_list",
    "shipped_workflows",
    "substitute",
    "working_folder",
    "write_dm",
]
