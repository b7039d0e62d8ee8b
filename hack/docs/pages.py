"""The console blocks of the documentation: their commands, the output that they show, and how they are run."""

import re
import subprocess
from dataclasses import dataclass, field

# A comment on the lines before a block, which no reader sees. Each says one of these:
#   not run: REASON                the commands need what the control plane of the tests does not have
#   not run (BEGINNING): REASON    the same for the commands that begin so
#   first: SHELL                   what the page takes for granted
#   meanwhile: SHELL               what happens beside the commands
#   headers only: REASON           of the output, only the lines in capitals are compared
COMMENT = re.compile(r"(not run|first|meanwhile|headers only)(?: \(([^)]*)\))?:\s+(.*)", re.DOTALL)


@dataclass
class Command:
    at: str
    text: str
    shown: list = field(default_factory=list)
    reason: str = ""  # why it is not run


@dataclass
class Block:
    at: str
    commands: list
    first: str = ""
    meanwhile: str = ""
    headers_only: bool = False


def is_complete(text):
    """Whether a shell would run these lines, rather than wait for another one."""
    if text.endswith("\\"):
        return False
    return subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, check=False).returncode == 0


def commands_of(page, number, lines):
    """The commands of a block whose first line has this number, each with the output that follows it."""
    commands = []
    for number, line in enumerate(lines, number):
        if commands and not is_complete(commands[-1].text):
            commands[-1].text += "\n" + line
        elif line.startswith("$ "):
            commands.append(Command(f"{page}:{number}", line[2:]))
        elif commands:
            commands[-1].shown.append(line)
        else:
            raise SystemExit(f"{page}:{number}: a console block begins with `$ `")
    return commands


def annotate(block, comments):
    for comment in comments:
        match = COMMENT.fullmatch(comment)
        if not match:
            raise SystemExit(f"{block.at}: this comment says nothing about the block: {comment}")
        what, beginning, text = match.groups()
        if what == "not run":
            left_out = [it for it in block.commands if it.text.startswith(beginning or "")]
            if not left_out:
                raise SystemExit(f"{block.at}: no command begins with {beginning}")
            for command in left_out:
                command.reason = " ".join(text.split())
        elif what == "headers only":
            block.headers_only = True
        else:
            setattr(block, what, text)


def blocks_of(page, text):
    """All console blocks of a page."""
    blocks, comments, lines = [], [], iter(enumerate(text.splitlines(), 1))
    for number, line in lines:
        bare = line.strip()
        if bare.startswith("<!--"):
            comment = [bare]
            while not comment[-1].endswith("-->"):
                comment.append(next(lines)[1].strip())
            comments.append("\n".join(comment).removeprefix("<!--").removesuffix("-->").strip())
        elif bare.startswith("```"):
            inside, indent = [], len(line) - len(line.lstrip())
            while (inner := next(lines)[1]).strip() != "```":
                inside.append(inner[indent:])
            if bare == "```console":
                block = Block(f"{page}:{number}", commands_of(page, number + 1, inside))
                annotate(block, comments)
                blocks.append(block)
            elif comments:
                raise SystemExit(f"{page}:{number}: a comment before a block that is not run")
            comments = []
        elif bare and comments:
            raise SystemExit(f"{page}:{number}: a comment without a block")
    return blocks


# What differs from run to run: times, durations, hashes, numbers such as epochs and shards.
VOLATILE = [
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z|\b\d\d:\d\d:\d\dZ"), "<time>"),
    (re.compile(r"\b[0-9a-f]{16}\b"), "<hash>"),
    (re.compile(r"\b\d{9,}\b"), "<number>"),
    (re.compile(r"(?<![\w.])(\d+d)?(\d+h)?(\d+m)?(\d+(\.\d+)?m?s)\b|(?<![\w.])\d+m\b"), "<duration>"),
    (re.compile(r"shard \d+ of"), "shard <number> of"),
]


def normal(text):
    for pattern, name in VOLATILE:
        text = pattern.sub(name, text)
    return " ".join(text.split())


def missing(command, said, headers_only, is_watch):
    """The first part of the shown output that is not in what the command said, in this order. None if all is there."""
    lines = [it for it in command.shown if it.strip()]
    if headers_only:
        lines = [it for it in lines if it == it.upper() and re.search("[A-Z]", it)]
        if not lines:
            raise SystemExit(f"{command.at}: there are no headers")
    parts, whole = [[]], normal(said)
    for line in lines:
        if line.strip() in ("...", "…"):
            parts.append([])
        elif is_watch or headers_only:
            parts.append([line])
        else:
            parts[-1].append(line)
    # A state may pass between two looks of a watch.
    if is_watch and len(parts) > 2:
        parts = [parts[0], parts[1], parts[-1]]
    begin = 0
    for part in filter(None, map(lambda it: normal("\n".join(it)), parts)):
        begin = whole.find(part, begin)
        if begin < 0:
            return part
        begin += len(part)
    return None
