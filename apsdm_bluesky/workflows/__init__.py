"""Workflows: definitions, their files, variables, conditions and faults. Nothing here runs them."""

from ._check import MAX_STAGES, check, job_arguments
from ._conditions import Condition, parse_condition
from ._definition import LOCAL, Parallel, Repeat, Retries, Stage, Value, Variable, Workflow
from ._dm_format import load_dm, parse_dm, read_dm, write_dm
from ._folder import working_folder
from ._outputs import MAX_OUTPUT, find_outputs, output_names
from ._script import shell_list
from ._shipped import shipped_workflows
from ._stage_check import Fault
from ._triggers import (
    NOTE,
    check_rules,
    frames_lost,
    may_apply,
    rule_arguments,
    rules_of,
    rules_to_note,
    run_variables,
    why_not,
)
from ._variables import RESERVED, argument_list, names_in, substitute
from ._yaml import format_value, format_workflow, load_workflow, parse_value, parse_workflow

__all__ = [
    "LOCAL",
    "MAX_OUTPUT",
    "MAX_STAGES",
    "NOTE",
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
    "check_rules",
    "find_outputs",
    "format_value",
    "format_workflow",
    "frames_lost",
    "job_arguments",
    "load_dm",
    "load_workflow",
    "may_apply",
    "names_in",
    "output_names",
    "parse_condition",
    "parse_dm",
    "parse_value",
    "parse_workflow",
    "read_dm",
    "rule_arguments",
    "rules_of",
    "rules_to_note",
    "run_variables",
    "shell_list",
    "shipped_workflows",
    "substitute",
    "why_not",
    "working_folder",
    "write_dm",
]
