"""Natural text for prompts, written for this purpose (pure).

Random words, or one sentence again and again, are no text that a model is used to: speculative decoding then
accepts less, or more, than it does for users.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final

_TEXT: Final = """
The ferry left the harbour a little after six, when the lamps along the quay were still burning.
Only a handful of people were on board: two carpenters on their way to a church on the far shore, a nurse who
had worked through the night, and an old man with a box of seedlings on his knees.
Nobody spoke much at first.
The water was flat and grey, and the engine made a sound so even that one forgot it was there.
After a while the nurse asked the old man what he meant to plant.
He told her that they were plum trees, grown from the stones of a tree which his grandfather had cut down in
a bad winter.
It had taken him eleven years to find out which of them would bear the same fruit.
Most had turned out sour, he said, but sour plums make good jam, so nothing had been wasted.
One of the carpenters laughed and wanted to know how much of it there was by now.
Enough for the whole island, the old man answered, and for some years to come.
The other carpenter had not been listening.
He was looking at the roof of the church, which had just come into sight above the trees, and he counted the
rows of slate that the storm had taken.
They had expected to be done in a week, but from here it looked like three.
The trouble was less the slate than the beams beneath it, for water had been getting in since spring, and wet
oak gives way slowly and without a word.
His colleague thought that half of the beams could be saved if they dried for the rest of the summer under
a sheet.
They went on to talk about prices, about a sawmill that had closed, and about a boy in the village who might
be taken on if he could get up in the morning.
By then the sun stood over the hills, and the nurse had fallen asleep with her head against the window.
When the ferry slowed down she woke and did not know for a moment where she was.
The old man had put one of the seedlings next to her bag, with a scrap of paper around the pot.
On it he had written that plums want a wall behind them, not too much water, and somebody who does not lose
patience in the fourth year.
She never learned his name, although she asked for him more than once.
The captain knew everybody who crossed the sound in those days, and he was sure that no such man had come
back with the evening boat.
The tree still stands behind the clinic, where it has been struck by lightning once and pruned badly twice.
In good years the patients eat the fruit from the windows of the ground floor, and in bad years there is jam.
As for the roof, it took the carpenters until October, and the boy got up in time on all but four mornings.
He runs the workshop now, and he says that he has kept the first nail he ever bent, to show to beginners.
People sometimes ask him whether the story of the plum tree is true.
He answers that he can only speak for the roof, which does not leak.
"""
SENTENCES: Final = tuple(
    " ".join(sentence.split()) for sentence in _TEXT.strip().replace(".\n", ".\n\n").split("\n\n")
)
_TURN: Final = 11  # sentences by which each further round begins later, so that no long part is repeated


def words() -> Iterator[str]:
    """Yield the words of the text without end; the order of its sentences changes with each round."""
    for turn in itertools.count():
        start = turn * _TURN % len(SENTENCES)
        for sentence in (*SENTENCES[start:], *SENTENCES[:start]):
            yield from sentence.split()
