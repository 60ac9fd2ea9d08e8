"""Record episodes as a Minari dataset and read them back (pip install 'stemscout[record]').

Minari's default keeps images as JPEG, which loses data; ``jpeg_encoding=False`` keeps
them as they are.  Datasets go to ``MINARI_DATASETS_PATH``, or Minari's own folder.
"""

import gymnasium
import minari
import numpy as np

import stemscout

DATASET = "stemscout/graphene-random-v0"
EPISODES = 3


def record():
    gymnasium.register_envs(stemscout)
    env = gymnasium.make("StemScout/GrapheneDefects-v0", difficulty="easy", budget=0.03)
    collector = minari.DataCollector(env, jpeg_encoding=False)
    frames = []
    for seed in range(EPISODES):
        observation, _ = collector.reset(seed=seed)
        collector.action_space.seed(seed)
        over = False
        while not over:
            frames.append(observation["frame"])
            observation, _, terminated, truncated, _ = collector.step(
                collector.action_space.sample()
            )
            over = terminated or truncated
    collector.create_dataset(DATASET, algorithm_name="random")
    collector.close()
    return frames


def read():
    frames = []
    for episode in minari.load_dataset(DATASET).iterate_episodes():
        # The last observation has no action.
        frames += list(episode.observations["frame"][: len(episode.actions)])
    return frames


if __name__ == "__main__":
    if DATASET in minari.list_local_datasets():
        minari.delete_dataset(DATASET)
    taken, kept = record(), read()
    same = all(np.array_equal(a, b) for a, b in zip(taken, kept, strict=True))
    print(
        f"{len(kept)} steps of {EPISODES} episodes, read back {'unchanged' if same else 'CHANGED'}"
    )
