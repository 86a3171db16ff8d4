"""Judgements and turns as strings: a letter is `STEP` frames, `S` speech, `.` none."""

from edgerec.turns.segmenter import Judged

STEP = 100


def judgements(drawn, track="user", step=STEP):
    for index, letter in enumerate(drawn):
        yield Judged(track, index * step, (index + 1) * step, letter == "S")


def latest(updates):
    """Return what was last said of every part, in order."""
    return list({(part.speaker, part.number, part.part): part for part in updates}.values())


def picture(parts, length):
    """Draw the parts of one speaker: `-` belongs to one, `S` is its speech, `|` a further part."""
    drawn = [" "] * length
    for part in parts:
        assert part.start % STEP == part.stop % STEP == 0
        for index in range(part.start // STEP, part.stop // STEP):
            drawn[index] = "-"
        for index in range(part.speech_start // STEP, part.speech_end // STEP):
            drawn[index] = "S"
        if part.part:
            drawn[part.start // STEP] = "|"
    return "".join(drawn)
