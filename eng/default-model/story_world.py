"""Who lives in the stories, where, and in what weather: the words that a story's cast and scene are drawn from."""

WORLDS = ("people", "animals")

PRONOUNS = {
    "f": {"he": "she", "him": "her", "his": "her", "hers": "hers", "self": "herself"},
    "m": {"he": "he", "him": "him", "his": "his", "hers": "his", "self": "himself"},
}

NAMES = {
    "people": {
        "f": "Mia Lily Emma Nora Ella Ruby Clara Ivy Lucy Rosa Zoe Hana Maya Anna Sofia Ada Leila Greta Molly Alice "
             "Amara Freya Sara Ines Edith June Kira Lena Mabel Nina".split(),
        "m": "Tom Ben Leo Max Sam Finn Oscar Theo Jack Noah Eli Hugo Milo Omar Kai Felix Otto Toby Luca Ravi Jonah "
             "Arlo Owen Peter Amir Henry Ivan Simon Victor Will".split(),
    },
    "animals": {
        "f": "Hazel Clover Poppy Nutmeg Willow Juniper Fern Olive Maple Dot Penny Marigold Flora Tilly Daisy Bella "
             "Mimi Lulu Rosie Ginger Pearl Saffron Tansy Bonnie Mia Lily Ruby Luna".split(),
        "m": "Pip Bramble Rusty Biscuit Moss Thistle Bertie Tuck Basil Barnaby Oakley Rufus Chester Digby Bruno Scout "
             "Monty Rowan Hobbs Jasper Walter Alfie Casper Teddy Tom Max Finn Oliver".split(),
    },
}

# kind: (what it holds things with, where it lives)
HERO_ANIMALS = {
    "fox": ("paws", "den"), "rabbit": ("paws", "burrow"), "mouse": ("paws", "house"), "bear": ("paws", "cave"),
    "hedgehog": ("paws", "den"), "badger": ("paws", "den"), "cat": ("paws", "house"), "dog": ("paws", "house"),
    "mole": ("paws", "burrow"), "raccoon": ("paws", "den"), "wolf": ("paws", "den"), "panda": ("paws", "house"),
    "lion": ("paws", "cave"), "hare": ("paws", "burrow"),
}

FRIEND_ANIMALS = (
    "squirrel otter beaver fox rabbit mouse hedgehog badger cat dog mole raccoon bear"
).split()

# (kind, adjectives, gender or None for either)
HERO_PEOPLE = [
    ("girl", ("little", "young", "small"), "f"), ("boy", ("little", "young", "small"), "m"),
    ("princess", ("young", "little"), "f"), ("prince", ("young", "little"), "m"),
    ("wizard", ("young", "little"), None), ("shepherd", ("young",), None), ("sailor", ("young",), None),
    ("baker", ("young",), None), ("farmer", ("young",), None), ("painter", ("young",), None),
]
HERO_PEOPLE_WEIGHTS = (34, 34, 5, 5, 4, 5, 3, 4, 3, 3)

# (name, name with its bearer's work at first mention, gender)
ELDERS = {
    "people": [
        ("Grandma", "Grandma", "f"), ("Grandpa", "Grandpa", "m"),
        ("Mrs. Plum", "Mrs. Plum the baker", "f"), ("Mr. Bell", "Mr. Bell the clockmaker", "m"),
        ("Aunt Rose", "Aunt Rose", "f"), ("Uncle Ned", "Uncle Ned", "m"),
        ("Miss Gold", "Miss Gold the teacher", "f"), ("Captain Gray", "Captain Gray the old sailor", "m"),
        ("Mr. Finch", "Mr. Finch the gardener", "m"), ("Mrs. Lake", "Mrs. Lake the weaver", "f"),
        ("Mrs. Hill", "Mrs. Hill from next door", "f"), ("Mr. Stone", "Mr. Stone the carpenter", "m"),
    ],
    "animals": [
        ("Grandmother Turtle", "wise Grandmother Turtle", "f"), ("Mr. Heron", "tall Mr. Heron", "m"),
        ("Mrs. Goose", "busy Mrs. Goose", "f"), ("Old Owl", "Old Owl", "f"), ("Mr. Toad", "old Mr. Toad", "m"),
        ("Mrs. Hen", "kind Mrs. Hen", "f"), ("Grandfather Goat", "old Grandfather Goat", "m"),
        ("Mrs. Deer", "gentle Mrs. Deer", "f"), ("Mr. Pigeon", "plump Mr. Pigeon", "m"),
        ("Mrs. Swan", "white-feathered Mrs. Swan", "f"), ("Mr. Moose", "big Mr. Moose", "m"),
    ],
}

# (where it is, what it is called, a well-known spot there, who lives there)
SETTINGS = {
    "people": [
        ("in a small village by the sea", "the village", "the harbor", "the whole village"),
        ("in a quiet town between two hills", "the town", "the old bridge", "the whole town"),
        ("on a farm at the end of a long road", "the farm", "the red barn", "everyone on the farm"),
        ("in a village high in the mountains", "the village", "the stone well", "the whole village"),
        ("on a little green island", "the island", "the lighthouse", "everyone on the island"),
        ("in a busy town with narrow streets", "the town", "the clock tower", "the whole town"),
        ("in a white house near the lake", "the village", "the wooden dock", "the whole village"),
        ("at the edge of a great forest", "the village", "the old mill", "the whole village"),
        ("in a valley full of apple trees", "the valley", "the orchard gate", "everyone in the valley"),
        ("in a town where three rivers met", "the town", "the market square", "the whole town"),
        ("in a tall house with a blue door", "the town", "the little park", "the whole street"),
        ("in a village with a windmill", "the village", "the windmill", "the whole village"),
    ],
    "animals": [
        ("deep in the green forest", "the forest", "the old oak tree", "all the animals of the forest"),
        ("at the edge of a sunny meadow", "the meadow", "the round pond", "all the animals of the meadow"),
        ("near a quiet pond", "the pond", "the fallen log", "all the animals around the pond"),
        ("in a valley between two green hills", "the valley", "the flat rock", "all the animals of the valley"),
        ("under the roots of a great oak", "the forest", "the mossy stone", "all the animals of the forest"),
        ("beside a bubbling brook", "the woods", "the little bridge", "all the animals of the woods"),
        ("on a hill covered with wildflowers", "the hill", "the tall pine", "all the animals of the hill"),
        ("in a forest of silver birch trees", "the forest", "the berry patch", "all the animals of the forest"),
        ("near the old farm", "the farm", "the hay barn", "all the animals of the farm"),
        ("on the shore of a wide blue lake", "the shore", "the great willow", "all the animals of the shore"),
    ],
}

# weather: adjectives for the day; the sentences about it are the shared beats weather_NAME
WEATHER = {
    "sunny": ("sunny", "bright", "warm", "golden"),
    "rainy": ("rainy", "wet", "gray", "drizzly"),
    "windy": ("windy", "breezy", "blustery"),
    "snowy": ("snowy", "cold", "frosty", "white"),
    "foggy": ("foggy", "misty"),
}
WEATHER_WEIGHTS = {"sunny": 5, "rainy": 3, "windy": 2.5, "snowy": 2, "foggy": 1.2}

TRAITS = (
    "curious kind shy brave clever cheerful patient careful quiet busy gentle stubborn playful dreamy lively thoughtful"
).split()

FOOD = {
    "people": ("apple pie", "honey cakes", "warm bread and butter", "plum cake", "pancakes with jam", "ginger cookies",
               "hot soup", "berry tarts", "cinnamon buns", "roasted chestnuts"),
    "animals": ("blackberry pie", "honey cakes", "acorn bread", "clover soup", "sweet berries", "nut cookies",
                "apple slices with honey", "mushroom soup", "dandelion tea and cakes", "roasted chestnuts"),
}
