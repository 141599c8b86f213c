"""The arithmetic of a retrieval index, which a SavedModel holds."""

import tensorflow as tf

from mm_keras.exporting.serving import Serving

CHUNK = 65_536  # items that are compared with a batch of queries at once


class NearestItems(tf.Module):
    """Items of one modality, found by queries of another.

    Args:
        query: Embeds queries.
        items: Embeds items.
        width: Of the embeddings.
        id_type: `tf.string` or `tf.int64`.
        k: How many neighbours `serve` returns.
    """

    def __init__(self, query: Serving, items: Serving, width: int, id_type: tf.DType, k: int):
        super().__init__()
        self.layers = [*query.layers, *items.layers]  # whose weights and tables are saved
        with tf.device("CPU"):  # where strings can be
            self.embeddings = tf.Variable(
                tf.zeros((0, width)), shape=(None, width), trainable=False, name="embeddings"
            )
            self.ids = tf.Variable(
                tf.zeros((0,), id_type), shape=(None,), trainable=False, name="ids"
            )

        def embed(serving: Serving, inputs):
            (embedding,) = serving(inputs).values()
            return tf.cast(embedding, tf.float32)

        @tf.function(input_signature=[query.inputs, tf.TensorSpec((), tf.int32, name="k")])
        def search(inputs, k):
            scores, places = nearest(embed(query, inputs), self.embeddings, k)
            return {"ids": tf.gather(self.ids, places), "scores": scores}

        @tf.function(input_signature=[query.inputs])
        def serve(inputs):
            return search(inputs, tf.constant(k))

        @tf.function(input_signature=[items.inputs])
        def embed_items(inputs):
            return {"embedding": embed(items, inputs)}

        @tf.function(
            input_signature=[
                tf.TensorSpec((None, width), tf.float32, name="embedding"),
                tf.TensorSpec((None,), id_type, name="ids"),
            ]
        )
        def append(embedding, ids):
            self.embeddings.assign(tf.concat([self.embeddings, embedding], axis=0))
            self.ids.assign(tf.concat([self.ids, ids], axis=0))
            return {"count": tf.shape(self.ids)[0]}

        self.search, self.serve, self.embed_items, self.append = search, serve, embed_items, append


def nearest(queries: tf.Tensor, items: tf.Tensor, k: tf.Tensor, chunk: int = CHUNK):
    """Returns scores `(B, k)`, falling, and places `(B, k)` of the k greatest dot products.

    Of equal ones the first comes first. Of fewer items than k there are as many as there are.

    Args:
        queries: `(B, E)`.
        items: `(n, E)`.
        k: At least 1.
        chunk: How many items are compared at once: that bounds the memory.
    """
    items = tf.convert_to_tensor(items)
    count = tf.shape(items)[0]

    def unfinished(start, scores, places):
        return start < count

    def compare(start, scores, places):
        block = items[start : start + chunk]
        products = tf.matmul(queries, block, transpose_b=True)
        found, at = tf.math.top_k(products, tf.minimum(k, tf.shape(block)[0]))
        scores = tf.concat([scores, found], axis=1)
        places = tf.concat([places, at + start], axis=1)
        scores, order = tf.math.top_k(scores, tf.minimum(k, tf.shape(scores)[1]))
        return start + chunk, scores, tf.gather(places, order, batch_dims=1)

    size = tf.shape(queries)[0]
    _, scores, places = tf.while_loop(
        unfinished,
        compare,
        (tf.constant(0), tf.zeros((size, 0)), tf.zeros((size, 0), tf.int32)),
        shape_invariants=(
            tf.TensorShape(()),
            tf.TensorShape((None, None)),
            tf.TensorShape((None, None)),
        ),
    )
    return scores, places
