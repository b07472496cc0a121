"""The texts that tests feed to the models: see models/text.py."""

from __future__ import annotations

#: One word to about 45, most of them unseen by the tokenizers.
CORPUS: list[str] = [
    "Yes",
    "Hello!",
    "Wonderful.",
    "nobody answered",
    "Paris is beautiful",
    "I live in Berlin.",
    "What a terrible film…",
    "Guten Morgen, Herr Müller!",
    "Merci beaucoup, à bientôt.",
    "東京タワー",
    "我喜欢 Paris.",
    "👍",
    "Great 😀😀 service, thanks! 🎉",
    "  two   spaces    everywhere  ",
    "first line\nsecond line",
    "tabs\tand\nnew lines\n\nin one text",
    "(brackets) [more] {most} <tag>",
    "3.14159, -42, 1e10 and 50%",
    "http://example.com/a?b=c&d=e",
    "ALL CAPITALS, OR NEARLY so",
    "Sarah and John met the chancellor in Munich.",
    "The bank said that its profits rose by 12 percent.",
    "She was born in Leipzig, studied in Paris and works in London.",
    "Die Straßenbahn fährt heute nicht, weil es schneit.",
    "Les enfants jouent dans le jardin de l'école.",
    "Can you book a table for two people tonight?",
    "it is what it is, is it not what it is?",
    "Neil Armstrong walked on the Moon in July 1969, and the world watched.",
    "The United Nations met in New York to talk about the war in the north.",
    "The quick brown fox jumps over the lazy dog, again and again and again.",
    "Our train was late, the hotel was cold, and the food … let us not talk about the food!",
    "Der Film war lang, aber die Musik war schön und die Bilder waren noch schöner.",
    "Je ne sais pas si le train est parti, mais il est déjà midi et personne ne répond.",
    "In 2021 the company sold 1,200 books; in 2022 it sold 900, and in 2023 none at all.",
    "Scientists in Peru found a frog. It is small. It is green. It sings at night. Who knows why?",
    "The report said that prices fell sharply in the third quarter, and that they will fall again "
    "in the fourth.",
    "She opened the window because the room was hot, closed it because the street was loud, and "
    "opened it again at night.",
    "To win the match the team needs time, people, money and a lot of data, said the new manager "
    "of the club, who was born in Hamburg.",
    "The weather in London was cold, the weather in Paris was wet, the weather in Berlin was both, "
    "and so the team went home and played in the hall.",
    "When the first people came to the river they had no name for it; when the last of them went "
    "away it had more names than people, and so did the city.",
]
