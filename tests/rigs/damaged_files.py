"""Files of ours that say something else: grammatical, their checksums right, and wrong anywhere."""

import json
import zlib

ODD_VALUES = (
    None,
    True,
    False,
    -1,
    0,
    1,
    7,
    99,
    2**31,
    2**63,
    10**25,
    -(10**25),
    0.5,
    -1e308,
    1e308,
    "",
    "x",
    "wav",
    "opus",
    "user",
    "turn-bot",
    "crash",
    "../../x",
    "a\0b",
    "\ud800",
    "x" * 300,
    [],
    {},
    [[[[[[[[]]]]]]]],
    {"user": {}, "bot": {}},
)
NEW_LINES = (
    {},
    {"newer": 1},
    {"durable_frames": 5},
    {"durable_frames": -1},
    {"durable_frames": "all"},
    {"track": "user", "frame": 12, "code": 1},
    {"track": "bot", "frame": -1, "code": 0},
    {"track": "bot", "frame": 10**20, "code": 8},
    {"track": "bot", "frame": 20, "code": 200},
    {"track": "mix", "frame": 20, "code": 1},
    {"closing": None},
    {"closing": {}},
)


def damage(value, random, times):
    """Return a JSON value that differs from this one in a few places."""
    value = json.loads(json.dumps(value))
    for _ in range(times):
        places = list(_places(value))
        if not places:
            return _any_of(ODD_VALUES, random)
        holder, key = random.choice(places)
        how = random.randrange(6)
        if how == 0:
            del holder[key]
        elif how == 1 and isinstance(holder, dict):
            holder["newer"] = _any_of(ODD_VALUES, random)
        elif how == 2:
            other_holder, other_key = random.choice(places)
            holder[key] = json.loads(json.dumps(other_holder[other_key]))
        elif isinstance(holder[key], int) and how == 3:
            holder[key] += random.choice((-1, 1, 1000, 2**40))
        else:
            holder[key] = _any_of(ODD_VALUES, random)
    return value


def _any_of(values, random):
    return json.loads(json.dumps(random.choice(values)))  # it will be changed


def _places(value):
    """Every place in a JSON value where something stands."""
    keys = value if isinstance(value, dict) else range(len(value)) if _is_list(value) else ()
    for key in list(keys):
        yield value, key
        yield from _places(value[key])


def _is_list(value):
    return isinstance(value, list)


def read_journal_lines(path):
    return [json.loads(line.partition(b" ")[2]) for line in path.read_bytes().splitlines()]


def write_journal_lines(path, lines):
    bodies = [json.dumps(line).encode() for line in lines]
    path.write_bytes(b"".join(b"%08x %s\n" % (zlib.crc32(body), body) for body in bodies))


def damage_journal(path, random, times):
    """Change what a journal says: fields, values, and whole lines; its checksums are right."""
    lines = read_journal_lines(path)
    for _ in range(times):
        place = random.randrange(len(lines)) if lines else 0
        how = random.randrange(6)
        if how == 0:
            lines.insert(place, _any_of(NEW_LINES, random))
        elif how == 1 and len(lines) > 1:
            lines.append(lines.pop(place))
        elif lines:
            lines[place] = damage(lines[place], random, 1)
    write_journal_lines(path, lines)


def damage_json(path, random, times):
    """Change what a JSON file says."""
    path.chmod(0o640)
    path.write_text(json.dumps(damage(json.loads(path.read_text()), random, times)))
