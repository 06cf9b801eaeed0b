"""Domain adaptation on features inside scikit-learn: reviews of two sites teach, films are judged.

    python examples/adapt_features.py

Target labels are used in the last line only, to say what adaptation bought.
"""

import numpy as np
from sklearn.linear_model import LogisticRegression

from isthmus import DomainAdaptedClassifier, embed, load_backbone, read
from isthmus.adapt.coral import CORAL
from isthmus.backbone import Store
from isthmus.data.domains import stack_domains
from isthmus.demo.cases import DATA  # reviews that come with the package

samples = read(DATA / "reviews" / "sentences.csv")
features = embed(load_backbone(modality="text"), samples, store=Store()).features
labels = samples.labels.astype(str)
film = np.array([domain == "imdb" for domain in samples.domain])

X, y, sample_domain, _ = stack_domains(features[~film], labels[~film], features[film])
for adapter in (None, CORAL(reg=1e-3)):
    model = DomainAdaptedClassifier(adapter, LogisticRegression(C=10, max_iter=1000))
    model.fit(X, y, sample_domain=sample_domain)
    accuracy = model.score(features[film], labels[film])
    print(f"{adapter or 'source only'}: {accuracy:.1%} of {film.sum()} film reviews are right")
