"""Bad input is a ValueError that names the argument, what was seen and what was expected."""

import inspect
import warnings

import numpy as np
import pytest

from fastjac import jacobians as J

ONES = np.ones((2, 3))
HALF = [0.5, 0.5]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        # shapes
        (lambda: J.circle([0.0]), r"t has shape \(1,\), expected a scalar"),
        (lambda: J.sin_cos_tan([1.0]), r"x has shape \(1,\), expected \(2,\)"),
        (lambda: J.affine([1.0], ONES), r"x has shape \(1,\), expected \(2,\): W has shape \(2, 3\)"),
        (lambda: J.affine_neuron(ONES, [1.0]), r"w has shape \(1,\), expected \(3,\): X has shape \(2, 3\)"),
        (lambda: J.affine_input([1.0]), r"W has shape \(1,\), expected a matrix"),
        (lambda: J.dense(np.ones(2), ONES, np.ones(2)), r"b has shape \(2,\), expected \(3,\)"),
        (lambda: J.neuron(ONES, np.ones(3), [1.0]), r"b has shape \(1,\), expected a scalar"),
        (lambda: J.sigmoid(ONES), r"x has shape \(2, 3\), expected a vector"),
        (
            lambda: J.elementwise(lambda x: 1.0, [1.0, 2.0]),
            r"derivative\(x\) has shape \(\), expected \(2,\)",
        ),
        (lambda: J.multiply([1.0], HALF), r"v has shape \(2,\), expected \(1,\), the shape of u"),
        (
            lambda: J.mean_squared_error([1.0], HALF),
            r"y has shape \(2,\), expected \(1,\), the shape of y_hat",
        ),
        (lambda: J.mean_squared_error_gradient([1.0], [1.0]), r"Y_hat has shape \(1,\), expected a matrix"),
        (lambda: J.softmax_vjp([1.0], HALF), r"dJ_dp has shape \(1,\), expected \(1, 2\)"),
        (lambda: J.softmax_gradient(ONES, [HALF]), r"dY_hat has shape \(2, 3\), expected \(1, 2\)"),
        (
            lambda: J.softmax_cross_entropy(HALF, [1.0]),
            r"y has shape \(1,\), expected \(2,\): s has 2 classes",
        ),
        (lambda: J.softmax_function([]), r"l has shape \(0,\), expected at least one class"),
        (lambda: J.matmul_gradients(ONES, ONES, ONES), r"B has shape \(2, 3\), expected 3 rows"),
        (lambda: J.matmul_gradients(ONES, ONES, ONES.T), r"dC has shape \(2, 3\), expected \(2, 2\)"),
        (lambda: J.affine_gradients(ONES, ONES, ONES), r"W has shape \(2, 3\), expected 3 rows"),
        (lambda: J.affine_gradients(ONES, ONES, ONES.T), r"dZ has shape \(2, 3\), expected \(2, 2\)"),
        (lambda: J.bias_gradient([1.0]), r"dC has shape \(1,\), expected a matrix"),
        (lambda: J.matrix_vector(ONES, HALF), r"x has shape \(2,\), expected \(3,\)"),
        (lambda: J.matmul(ONES, ONES), r"A has shape \(2, 3\), expected 3 rows"),
        (lambda: J.chain_rule(ONES, ONES), r"factor 1 has shape \(2, 3\), expected it to fit .* \(2, 3\)"),
        (lambda: J.chain_rule(), "factors is empty"),
        (lambda: J.stack_gradients(), "gradients is empty"),
        (lambda: J.stack_gradients([1.0], HALF), r"gradient 1 has shape \(2,\), expected \(1,\)"),
        (lambda: J.network_chain(HALF, HALF, []), "layers is empty"),
        (
            lambda: J.network_chain(HALF, HALF, [(ONES, np.ones(3), "tanh")]),
            r"y has shape \(2,\), expected \(3,\)",
        ),
        # the generalised product
        (lambda: J.contract(ONES, ONES, axes=3), r"axes is 3, expected 0 to 2: P has shape \(2, 3\)"),
        (lambda: J.contract(ONES, ONES, axes=-1), "axes is -1, expected 0 to 2"),
        (lambda: J.contract(ONES, ONES, axes=1.5), "axes is 1.5, expected 0 to 2"),
        (lambda: J.contract(ONES, ONES, axes=1), r"Q has shape \(2, 3\), expected it to begin with \(3,\)"),
        # distributions and probabilities
        (lambda: J.softmax([0.5, 0.6]), "p sums to 1.1, expected a distribution"),
        (lambda: J.softmax([1.5, -0.5]), r"p holds 1.5, expected numbers in \[0, 1\]"),
        (lambda: J.softmax([np.nan, 1.0]), r"p holds nan, expected numbers in \[0, 1\]"),
        (lambda: J.softmax([]), "p has shape .*, expected a distribution over at least one class"),
        (lambda: J.log_softmax([0.2, 0.2]), "s sums to 0.4"),
        (lambda: J.softmax_gradient([HALF, HALF], [HALF, [0.5, 0.1]]), "Y_hat sums to 0.6"),
        (lambda: J.binary_cross_entropy([1.5], [1.0]), r"y_hat holds 1.5, expected numbers in \[0, 1\]"),
        (lambda: J.binary_cross_entropy([np.nan], [1.0]), r"y_hat holds nan, expected numbers in \[0, 1\]"),
        (lambda: J.binary_cross_entropy([0.5], [2.0]), r"y holds 2.0, expected numbers in \[0, 1\]"),
        (lambda: J.categorical_cross_entropy_gradient([[-0.1]], [[1.0]]), "Y_hat holds -0.1"),
        (lambda: J.absolute_error([1.0], HALF), r"y has shape \(2,\), expected \(1,\), the shape of y_hat"),
        (lambda: J.huber_slope([1.0], HALF), r"y has shape \(2,\), expected \(1,\), the shape of y_hat"),
        (lambda: J.huber(HALF, HALF, 0), "delta is 0, expected a number above 0 and below inf"),
        (lambda: J.quantile(HALF, HALF, 1), "quantile is 1, expected a number above 0 and below 1"),
        (lambda: J.quantile(HALF, HALF, np.nan), "quantile is nan"),
        (lambda: J.poisson([1.0], HALF), r"y has shape \(2,\), expected \(1,\), the shape of z"),
        (lambda: J.poisson(HALF, [1.0, -2.0]), "y holds -2.0, expected numbers of at least 0"),
        (lambda: J.poisson_slope(HALF, [1.0, np.nan]), "y holds nan, expected numbers of at least 0"),
        (lambda: J.batch_mean(2, [1.0, -1.0]), "weights holds -1.0, expected finite numbers of at least 0"),
        (lambda: J.batch_mean(2, [1.0]), r"weights has shape \(1,\), expected \(2,\)"),
        (lambda: J.batch_mean(-1), "samples is -1"),
        (lambda: J.log_plus_exp([1.0, 0.0]), "x holds 0.0, expected positive numbers"),
        # layouts, names, counts, dtypes
        (
            lambda: J.jacobian(np.sin, 0.0, layout="row"),
            "layout is 'row', expected one of 'numerator', 'denominator'",
        ),
        (
            lambda: J.affine_input(ONES, layout="t"),
            "layout is 't', expected one of 'numerator', 'denominator'",
        ),
        (lambda: J.to_layout(ONES, "numerator", 3), r"output_axes is 3, expected 0 to 2"),
        (lambda: J.elementwise("relU", [1.0]), "activation is 'relU', expected one of 'identity', 'relu'"),
        (lambda: J.affine_weight([1.0], neuron=2, neurons=2), "neuron is 2, expected an integer from 0 to 1"),
        (lambda: J.affine_weight([1.0], neuron=True, neurons=2), "neuron is True, expected an integer"),
        (lambda: J.affine_bias(2.0), "neurons is 2.0, expected an integer of at least 0"),
        (lambda: J.softmax(np.array([1j])), "p has dtype complex128, expected float32 or float64"),
        (lambda: J.softmax(["a"]), "p has dtype <U1, expected float32 or float64"),
        (lambda: J.softmax(np.ones(1, dtype=np.float16)), "p has dtype float16, expected float32 or float64"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


FLOAT32 = {
    "circle": (np.float32(0.1),),
    "affine_input": (ONES,),
    "affine_weight_tensor": (np.ones(2), 3),
    "softmax": (HALF,),
    "log_softmax": (HALF,),
    "softmax_vjp": (HALF, HALF),
    "softmax_gradient": ([HALF], [HALF]),
    "softmax_cross_entropy": (HALF, HALF),
    "softmax_cross_entropy_gradient": ([HALF], [HALF]),
    "sigmoid": (HALF,),
    "relu": (HALF,),
    "leaky_relu": (HALF,),
    "elu": (HALF,),
    "gelu": (HALF,),
    "silu": (HALF,),
    "log_plus_exp": (HALF,),
    "mean_squared_error": (HALF, HALF),
    "binary_cross_entropy": (HALF, HALF),
    "mean_squared_error_gradient": ([HALF], [HALF]),
    "binary_cross_entropy_gradient": ([HALF], [HALF]),
    "categorical_cross_entropy_gradient": ([HALF], [HALF]),
    "absolute_error": (HALF, HALF),
    "huber": (HALF, HALF, np.float64(0.3)),
    "quantile": (HALF, HALF, np.float64(0.3)),
    "poisson": (HALF, HALF),
    "bias_gradient": (ONES,),
    "sin_cos_tan": (HALF,),
    "contract": (ONES, ONES.T),
    "elementwise_tensor": ("tanh", ONES),
}


@pytest.mark.parametrize("name", FLOAT32)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_of_the_input_is_the_dtype_of_the_jacobian(name, dtype):
    arguments = [a if isinstance(a, int | float | str) else np.asarray(a, dtype=dtype) for a in FLOAT32[name]]
    assert getattr(J, name)(*arguments).dtype == dtype


@pytest.mark.parametrize(
    "call",
    [
        lambda: J.activation_value(3, [1.0]),
        lambda: J.activation_slope(None, [1.0]),
        lambda: J.elementwise([0.5], [1.0]),
        lambda: J.elementwise_diagonal(np.ones(2), [1.0]),
        lambda: J.elementwise_tensor({}, ONES),
        lambda: J.huber([1.0], [1.0], "wide"),
    ],
)
def test_an_argument_of_another_kind_is_a_type_error_that_says_what_it_is(call):
    with pytest.raises(TypeError, match=r"(activation|delta) is .*, expected a"):
        call()


@pytest.mark.parametrize("number", [10**400, -(10**400)])
@pytest.mark.parametrize(
    "call",
    [
        lambda n: J.jacobian(np.sin, n),
        lambda n: J.neuron(ONES, np.ones(3), n),
        lambda n: J.huber([1.0], [1.0], n),
        lambda n: J.quantile([1.0], [1.0], n),
        lambda n: J.elu([1.0], n),
        lambda n: J.sigmoid([n]),
        lambda n: J.affine_input([[n]]),
    ],
)
def test_a_number_larger_than_a_float_is_a_value_error(call, number):
    with pytest.raises(ValueError, match=r"larger than any float|whole number of 1329 bits|dtype object"):
        call(number)


def test_random_arguments_are_taken_or_refused_with_a_type_or_value_error():
    """A part of reliability test 1, for the functions on plain arrays."""
    values = [
        3,
        -1,
        0,
        10**400,
        None,
        "relu",
        "x",
        HALF,
        ONES,
        [[1], [1, 2]],
        1.5,
        True,
        object(),
        {},
        [],
        1j,
        b"a",
        np.array("a"),
        np.array([None]),
        np.ones((2, 2, 2)),
        lambda x: x,
        np.nan,
        np.float32(1),
        int,
    ]
    functions = [getattr(J, name) for name in dir(J) if callable(getattr(J, name)) and name not in ("explain",)]
    functions = [one for one in functions if not getattr(one, "__name__", "_").startswith("_")]
    rng, taken, refused = np.random.default_rng(0), 0, 0
    for _ in range(4000):
        function = functions[rng.integers(len(functions))]
        try:
            inspect.signature(function)
        except ValueError:  # of a type, such as Literal
            continue
        arguments = [values[rng.integers(len(values))] for _ in range(rng.integers(1, 4))]
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                function(*arguments)
                taken += 1
            except (TypeError, ValueError):
                refused += 1
    assert taken > 100
    assert refused > 1000


def test_network_chain_says_what_its_cut_costs():
    layers = [(np.eye(3), np.zeros(3), "identity")]
    chain = J.network_chain([0.0, 40.0, 0.0], [1.0, 0.0, 0.0], layers)
    assert chain.gradients["a1"][0] == pytest.approx(-4.2e-6, rel=0.02)
    exact = J.softmax_cross_entropy(J.softmax_function([0.0, 40.0, 0.0]), [1.0, 0.0, 0.0])
    assert exact.ravel()[0] == -1
    assert "4.2e-6" in J.network_chain.__doc__
    assert len(repr(chain)) < 100


def test_numbers_of_numpy_are_numbers():
    np.testing.assert_array_equal(J.huber(HALF, HALF, np.int64(1)), J.huber(HALF, HALF, 1))
