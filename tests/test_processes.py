"""Two processes, as on two hosts: each feeds its half of the batch, and the step gives one process' numbers."""

import json
import socket
import subprocess
import sys

import numpy as np
import pytest

PROGRAM = """
import json, sys
import jax, jax.numpy as jnp, numpy as np, optax
from jaxgan import lift, losses
from jaxgan.latents import normal_latents
from jaxgan.gan import make_gan
from jaxgan.network import flax_network
from jaxgan.networks import mlp

process, processes, port = map(int, sys.argv[1:])
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 4 // processes)
if processes > 1:
    jax.distributed.initialize(f"127.0.0.1:{port}", processes, process)
gan = make_gan(
    flax_network(mlp.Generator((2,), widths=(16,))),
    flax_network(mlp.Discriminator(widths=(16,))),
    losses.non_saturating,
    generator_tx=optax.sgd(0.1),
    discriminator_tx=optax.sgd(0.1),
    latent=normal_latents(4),
)
mesh = lift.data_mesh()
lift.LEAST = 16  # these networks have no larger leaves
assert mesh.size == 4 and jax.process_count() == processes
whole, split = (jax.NamedSharding(mesh, jax.P(*axes)) for axes in ((), (lift.AXIS,)))
data = np.random.default_rng(0).normal(size=(32, 2)).astype(np.float32)
mine = data.reshape(processes, -1, 2)[process]
batch = {"x": jax.make_array_from_process_local_data(split, mine)}
key = jax.jit(lambda: jax.random.key(0), out_shardings=whole)()
spread = lift.spread(jax.eval_shape(gan.init, key, batch), mesh)
numbers = []
for lifted, sharding in ((lift.mesh, whole), (lift.fsdp, spread)):
    state = jax.jit(gan.init, out_shardings=sharding)(key, batch)
    step = lifted(gan.step, mesh)
    for _ in range(3):
        state, metrics = step(key, state, batch)
    assert jax.tree.leaves(state.generator.params)[1].sharding.is_fully_replicated == (lifted is lift.mesh)
    result = jax.jit(lambda v: v, out_shardings=whole)((state.generator.params, metrics))
    numbers.append(sum([np.asarray(v).ravel().tolist() for v in jax.tree.leaves(result)], []))
print("RESULT " + json.dumps(numbers))
"""


def run(processes: int) -> list[np.ndarray]:
    """The generator's parameters and the metrics that each process ends with, under `mesh` and under `fsdp`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(i), str(processes), str(port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(processes)
    ]
    results = []
    for process in started:
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
        (line,) = (line for line in out.splitlines() if line.startswith("RESULT "))
        results.append(np.array(json.loads(line.removeprefix("RESULT "))))
    return results


@pytest.mark.slow
def test_two_processes_run_what_one_runs():
    (alone,), together = run(1), run(2)
    assert alone.shape[1] > 100
    np.testing.assert_allclose(alone[0], alone[1], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(*together)
    np.testing.assert_allclose(together[0], alone, rtol=0, atol=1e-5)
