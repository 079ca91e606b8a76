"""The course, row by row: which function is which derivation. docs/course.md and the tests walk it."""

from typing import NamedTuple


class Row(NamedTuple):
    """One thing that is derived.

    Attributes:
        id: "A1" to "E3" of the course, "F1" to "F4" beyond it.
        title: in words.
        formula: LaTeX.
        shape: of what the functions return, LaTeX.
        functions: names in ``fastjac.jacobians``; the first is the row's own, the rest belong to it.
    """

    id: str
    title: str
    formula: str
    shape: str
    functions: tuple[str, ...]


DOCUMENTS = {
    "A": "Vector functions and Jacobians (lecture 5)",
    "B": "Element-wise operations (lecture 6)",
    "C": "Expanded Jacobians, mini-batches as matrices (lecture 10)",
    "D": "Tensors",
    "E": "Softmax with cross-entropy",
    "F": "Beyond the course: losses of regression",
}

ROWS = {
    row.id: row
    for row in (
        Row(
            "A1",
            "Dots on a circle",
            r"\vec r(t) = \begin{pmatrix} \cos 2\pi t \\ \sin 2\pi t \end{pmatrix} \qquad "
            r"\frac{\partial \vec r}{\partial t} = "
            r"\begin{pmatrix} -2\pi \sin 2\pi t \\ 2\pi \cos 2\pi t \end{pmatrix}",
            r"n \times 1",
            ("circle", "circle_function"),
        ),
        Row(
            "A2",
            "Sine, cosine and tangent of a difference",
            r"\vec r(\vec x) = \begin{pmatrix} \sin(x_1 - x_2) \\ \cos(x_1 - x_2) \\ \tan(x_1 - x_2) "
            r"\end{pmatrix} "
            r"\qquad \frac{\partial \vec r}{\partial \vec x} = \begin{pmatrix} "
            r"\cos(x_1 - x_2) & -\cos(x_1 - x_2) \\ -\sin(x_1 - x_2) & \sin(x_1 - x_2) \\ "
            r"\sec^2(x_1 - x_2) & -\sec^2(x_1 - x_2) \end{pmatrix}",
            r"3 \times 2",
            ("sin_cos_tan", "sin_cos_tan_function"),
        ),
        Row(
            "A3",
            "The four cases: scalar or vector in, scalar or vector out",
            r"\frac{\partial \vec f}{\partial \vec x} = \begin{pmatrix} \nabla_{\vec x} f_1 \\ \vdots \\ "
            r"\nabla_{\vec x} f_n \end{pmatrix}, \qquad \Big(\frac{\partial \vec f}{\partial \vec "
            r"x}\Big)_{ij} = "
            r"\frac{\partial f_i}{\partial x_j} \approx \frac{f_i(\vec x + h\vec e_j) - f_i(\vec x - h\vec "
            r"e_j)}{2h}",
            r"1 \times 1,\quad n \times 1,\quad 1 \times m,\quad n \times m",
            ("jacobian", "stack_gradients"),
        ),
        Row(
            "A4",
            "Affine function, one sample and n neurons",
            r"\vec z = \vec x^T W + \vec b \qquad \frac{\partial \vec z}{\partial \vec x} = W^T, \quad "
            r"\frac{\partial \vec z}{\partial \vec w_j} = \begin{pmatrix} \vec 0^T \\ \vec x^T \\ \vec 0^T "
            r"\end{pmatrix} \leftarrow j, \quad \frac{\partial \vec z}{\partial \vec b} = I",
            r"n \times m,\quad n \times m,\quad n \times n",
            ("affine", "affine_input", "affine_weight", "affine_weight_tensor", "affine_bias"),
        ),
        Row(
            "A5",
            "Affine function, N samples and one neuron",
            r"\vec z = X \vec w + b \qquad \frac{\partial \vec z}{\partial \vec w} = \begin{pmatrix} "
            r"(\vec x^{(1)})^T \\ \vdots \\ (\vec x^{(N)})^T \end{pmatrix}, \quad "
            r"\frac{\partial \vec z}{\partial b} = \begin{pmatrix} 1 \\ \vdots \\ 1 \end{pmatrix}, \quad "
            r"\frac{\partial \vec z}{\partial \vec x^{(i)}} = \begin{pmatrix} \vec 0^T \\ \vec w^T \\ "
            r"\vec 0^T \end{pmatrix} \leftarrow i",
            r"N \times m,\quad N \times 1,\quad N \times m",
            ("affine_neuron",),
        ),
        Row(
            "A6",
            "Softmax",
            r"p_i = \frac{e^{l_i}}{\sum_k e^{l_k}} \qquad \frac{\partial p_i}{\partial l_j} = "
            r"p_i(\delta_{ij} - p_j), \quad \frac{\partial \vec p}{\partial \vec l} = "
            r"\mathrm{diag}(\vec p) - \vec p\,\vec p^T",
            r"K \times K",
            ("softmax", "softmax_function"),
        ),
        Row(
            "A7",
            "Backpropagation through softmax",
            r"\frac{\partial J}{\partial \vec l} = \frac{\partial J}{\partial \vec p} "
            r"\frac{\partial \vec p}{\partial \vec l}",
            r"1 \times K",
            ("softmax_vjp",),
        ),
        Row(
            "B1",
            "Diagonal matrices",
            r"\mathrm{diag}(\vec a) + \mathrm{diag}(\vec b) = \mathrm{diag}(\vec a + \vec b), \quad "
            r"\mathrm{diag}(\vec a)\,\mathrm{diag}(\vec b) = \mathrm{diag}(\vec a \odot \vec b), \quad "
            r"\mathrm{diag}(\vec a)^{-1} = \mathrm{diag}(1/\vec a), \quad M I = M",
            r"n \times n",
            ("Diagonal",),
        ),
        Row(
            "B2",
            "Any unary element-wise operation",
            r"f_i(\vec x) = f(x_i) \qquad \frac{\partial \vec f}{\partial \vec x} = \mathrm{diag}(f'(\vec "
            r"x)); "
            r"\quad f(x) = x \implies I",
            r"n \times n",
            (
                "elementwise",
                "elementwise_diagonal",
                "identity",
                "leaky_relu",
                "softplus",
                "elu",
                "silu",
                "gelu",
            ),
        ),
        Row(
            "B3",
            "Logarithm plus exponential",
            r"f(x) = \ln x + e^x \qquad \frac{\partial \vec f}{\partial \vec x} = \mathrm{diag}(1/\vec x + "
            r"e^{\vec x})",
            r"n \times n",
            ("log_plus_exp",),
        ),
        Row(
            "B4",
            "Sigmoid, tanh, ReLU",
            r"\frac{\partial \sigma}{\partial \vec z} = \mathrm{diag}(a(1 - a)), \quad "
            r"\frac{\partial \tanh}{\partial \vec z} = \mathrm{diag}((1 + a)(1 - a)), \quad "
            r"\frac{\partial \mathrm{ReLU}}{\partial \vec z} = "
            r"\mathrm{diag}\begin{cases} 1, & z \geq 0 \\ 0, & z < 0 \end{cases}",
            r"n \times n",
            ("sigmoid", "tanh", "relu", "activation_value", "activation_slope"),
        ),
        Row(
            "B5",
            "Dense layer, one sample",
            r"\vec a = g(\vec x^T W + \vec b) \qquad \frac{\partial \vec a}{\partial \vec w_j} = "
            r"\begin{pmatrix} "
            r"\vec 0^T \\ g'(z_j)\,\vec x^T \\ \vec 0^T \end{pmatrix} \leftarrow j, \quad "
            r"\frac{\partial \vec a}{\partial \vec b} = \mathrm{diag}(g'(\vec z)), \quad "
            r"\frac{\partial \vec a}{\partial \vec x} = \begin{pmatrix} g'(z_1)\,\vec w_1^T \\ \vdots \\ "
            r"g'(z_n)\,\vec w_n^T \end{pmatrix}",
            r"n \times m,\quad n \times n,\quad n \times m",
            ("dense",),
        ),
        Row(
            "B6",
            "One neuron, N samples",
            r"\frac{\partial \vec a}{\partial \vec z} = \mathrm{diag}(g'(z^{(i)})), \quad "
            r"\frac{\partial \vec a}{\partial \vec w} = \begin{pmatrix} \vdots \\ g'(z^{(i)})\,(\vec "
            r"x^{(i)})^T \\ "
            r"\vdots \end{pmatrix}, \quad \frac{\partial \vec a}{\partial b} = \begin{pmatrix} \vdots \\ "
            r"g'(z^{(i)}) "
            r"\\ \vdots \end{pmatrix}, \quad \frac{\partial \vec a}{\partial \vec x^{(i)}} = \begin{pmatrix} "
            r"\vec 0^T \\ g'(z^{(i)})\,\vec w^T \\ \vec 0^T \end{pmatrix} \leftarrow i",
            r"N \times N,\quad N \times m,\quad N \times 1,\quad N \times m",
            ("neuron",),
        ),
        Row(
            "B7",
            "Any binary element-wise operation",
            r"\vec u + \vec v: (I, I), \quad \vec u - \vec v: (I, -I), \quad "
            r"\vec u \odot \vec v: (\mathrm{diag}\,\vec v, \mathrm{diag}\,\vec u)",
            r"n \times n,\quad n \times n",
            ("binary_elementwise", "add", "subtract", "multiply"),
        ),
        Row(
            "B8",
            "Mini-batch loss",
            r"J = \frac 1N \sum_i J_0^{(i)} \qquad \frac{\partial J}{\partial \vec J_0} = "
            r"\begin{pmatrix} \frac 1N & \cdots & \frac 1N \end{pmatrix}, \quad "
            r"\frac{\partial \vec J_0}{\partial \hat{\vec y}} = "
            r"\mathrm{diag}\Big(\frac{\partial J_0^{(i)}}{\partial \hat y^{(i)}}\Big)",
            r"1 \times N,\quad N \times N",
            ("batch_mean", "loss_per_sample", "loss_per_sample_diagonal"),
        ),
        Row(
            "B9",
            "Mean squared error",
            r"J_0 = (y - \hat y)^2 \qquad \frac{\partial J}{\partial \hat{\vec y}} = "
            r"-\frac 2N (\vec y - \hat{\vec y})",
            r"1 \times N",
            ("mean_squared_error", "squared_error_slope"),
        ),
        Row(
            "B10",
            "Binary cross-entropy",
            r"J_0 = -[y \ln \hat y + (1 - y) \ln(1 - \hat y)] \qquad \frac{\partial J}{\partial \hat{\vec "
            r"y}} = "
            r"\frac 1N \frac{\hat{\vec y} - \vec y}{\hat{\vec y}(1 - \hat{\vec y})}",
            r"1 \times N",
            ("binary_cross_entropy", "binary_cross_entropy_slope"),
        ),
        Row(
            "C1",
            "Mean squared error as a matrix",
            r"d\hat Y = -\frac 2N (Y - \hat Y)",
            r"N \times 1",
            ("mean_squared_error_gradient",),
        ),
        Row(
            "C2",
            "Binary cross-entropy as a matrix",
            r"d\hat Y = \frac 1N \frac{\hat Y - Y}{\hat Y (1 - \hat Y)}",
            r"N \times 1",
            ("binary_cross_entropy_gradient",),
        ),
        Row(
            "C3",
            "Categorical cross-entropy",
            r"J = -\frac 1N \sum_i \sum_k y_k^{(i)} \ln \hat y_k^{(i)} \qquad d\hat Y = -\frac 1N "
            r"\frac{Y}{\hat Y}",
            r"N \times K",
            ("categorical_cross_entropy_gradient",),
        ),
        Row(
            "C4",
            "Total derivative within softmax",
            r"dl_j = \hat y_j \Big(d\hat y_j - \sum_k d\hat y_k\,\hat y_k\Big), \qquad "
            r"\text{with C3}\quad dL = -\frac 1N (Y - \hat Y)",
            r"N \times K",
            ("softmax_gradient", "softmax_cross_entropy_gradient"),
        ),
        Row(
            "C5",
            "Matrix product",
            r"C = AB \qquad dA = dC\,B^T, \quad dB = A^T dC",
            r"\alpha \times \beta,\quad \beta \times \gamma",
            ("matmul_gradients",),
        ),
        Row(
            "C6",
            "Bias",
            r"C = A + \vec b^T \qquad d\vec b = \mathrm{sum}(dC, \text{axis} = 0)",
            r"\beta",
            ("bias_gradient",),
        ),
        Row(
            "C7",
            "Affine function of a mini-batch",
            r"Z = XW + \vec b^T \qquad dX = dZ\,W^T, \quad dW = X^T dZ, \quad "
            r"d\vec b = \mathrm{sum}(dZ, \text{axis} = 0)",
            r"N \times m,\quad m \times n,\quad n",
            ("affine_gradients",),
        ),
        Row(
            "D1",
            "Either layout",
            r"\Big(\frac{\partial \vec y}{\partial \vec x}\Big)_{ij} = \frac{\partial y_i}{\partial x_j} "
            r"\quad\text{or its transpose}",
            r"m \times n \quad\text{or}\quad n \times m",
            ("to_layout", "jacobian"),
        ),
        Row(
            "D2",
            "Matrix times vector",
            r"\vec y = A\vec x \qquad \frac{\partial \vec y}{\partial \vec x} = A, \quad "
            r"\frac{\partial y_i}{\partial a_{jk}} = \delta_{ij}\,x_k",
            r"m \times n,\quad m \times m \times n",
            ("matrix_vector",),
        ),
        Row(
            "D3",
            "Matrix in, matrix out",
            r"Y = f(X) \qquad \frac{\partial y_{ij}}{\partial x_{kl}} = \delta_{ik}\,\delta_{jl}\,f'(x_{ij}) "
            r"\quad\text{for an element-wise } f",
            r"b \times m \times b \times m",
            ("elementwise_tensor", "jacobian"),
        ),
        Row(
            "D4",
            "Generalised matrix product",
            r"(P \otimes_r Q)_{\ldots\,\ldots} = \sum_{i_1 \ldots i_r} P_{\ldots i_1 \ldots i_r}\, "
            r"Q_{i_1 \ldots i_r \ldots}",
            r"[i, j] \otimes_2 [i, j, k, l] \to [k, l]",
            ("contract",),
        ),
        Row(
            "D5",
            "Matrix product, as tensors",
            r"Y = XA,\ E = g(Y) \qquad \frac{\partial y_{ij}}{\partial a_{kl}} = x_{ik}\,\delta_{jl}, \quad "
            r"\frac{\partial y_{ij}}{\partial x_{kl}} = \delta_{ik}\,a_{lj}; \quad "
            r"\frac{\partial E}{\partial A} = \frac{\partial E}{\partial Y} \otimes_2 \frac{\partial "
            r"Y}{\partial A} "
            r"= X^T \frac{\partial E}{\partial Y}, \quad \frac{\partial E}{\partial X} = "
            r"\frac{\partial E}{\partial Y} A^T",
            r"l \times m \times n \times m,\quad l \times m \times l \times n",
            ("matmul", "contract"),
        ),
        Row(
            "E1",
            "Log-softmax",
            r"\frac{\partial \log s_i}{\partial x_k} = \delta_{ik} - s_k \implies "
            r"\frac{\partial s_i}{\partial x_k} = s_i(\delta_{ik} - s_k)",
            r"K \times K",
            ("log_softmax", "log_softmax_function"),
        ),
        Row(
            "E2",
            "Softmax with cross-entropy",
            r"L = -\sum_i y_i \log s_i \qquad \frac{\partial L}{\partial \vec x} = \vec s - \vec y "
            r"\quad\Big(\text{in general } \vec s \sum_i y_i - \vec y\Big)",
            r"K",
            ("softmax_cross_entropy",),
        ),
        Row(
            "E3",
            "The whole chain",
            r"\frac{\partial J}{\partial \vec w} = \frac{\partial J}{\partial \vec p} "
            r"\frac{\partial \vec p}{\partial \vec z} \frac{\partial \vec z}{\partial \vec w}, \qquad "
            r"\frac{\partial z}{\partial \vec w} = \vec x",
            r"\text{as } \vec w",
            ("network_chain", "chain_rule", "Chain"),
        ),
        Row(
            "F1",
            "Mean absolute error",
            r"J_0 = |y - \hat y| \qquad \frac{\partial J}{\partial \hat{\vec y}} = "
            r"\frac 1N \,\mathrm{sign}(\hat{\vec y} - \vec y), \quad \mathrm{sign}(0) = 0",
            r"1 \times N",
            ("absolute_error", "absolute_error_slope"),
        ),
        Row(
            "F2",
            "Huber loss",
            r"J_0 = \begin{cases} \frac 12 (y - \hat y)^2 & |y - \hat y| \le \delta \\ "
            r"\delta \left(|y - \hat y| - \frac \delta 2\right) & \text{else} \end{cases} \qquad "
            r"\frac{\partial J}{\partial \hat{\vec y}} = "
            r"\frac 1N \max(-\delta, \min(\delta, \hat{\vec y} - \vec y))",
            r"1 \times N",
            ("huber", "huber_slope"),
        ),
        Row(
            "F3",
            "Quantile loss",
            r"J_0 = \max(q (y - \hat y), (q - 1)(y - \hat y)) \qquad \frac{\partial J}{\partial \hat y^{(i)}} = "
            r"\frac 1N \begin{cases} -q & y^{(i)} > \hat y^{(i)} \\ 1 - q & y^{(i)} < \hat y^{(i)} \\ "
            r"0 & y^{(i)} = \hat y^{(i)} \end{cases}",
            r"1 \times N",
            ("quantile", "quantile_slope"),
        ),
        Row(
            "F4",
            "Poisson loss",
            r"J_0 = e^z - y + y (\ln y - z) \qquad \frac{\partial J}{\partial \vec z} = "
            r"\frac 1N (e^{\vec z} - \vec y)",
            r"1 \times N",
            ("poisson", "poisson_slope"),
        ),
    )
}
