"""Five labelled photos a class and nothing else: what does a pretrained network buy?

python examples/few_labels.py
"""

import isthmus
from isthmus.demo.cases import DATA  # photos of hand signs that come with the package

result = isthmus.transfer(target=DATA / "signs", shots=5)
print(result)  # leaderboard, verdict, proof on the sealed rows
print(result.predictions.head())
