"""Writes, views, aliases, identity; shapes and numbers of Python."""

from __future__ import annotations

import copy
import math

import plait
from tests.semantics.cases import M, N, S, Spec, X, Y, program, spec, stateful


@program(X)
def add_in_place(x):
    y = x * 1
    z = y
    y += 1
    return y, z, y is z


@program(X)
def add_makes_a_new_tensor(x):
    y = x
    y = y + 1
    return y is x, y


@program(X)
def write_a_slice(x):
    y = x * 1
    y[1:] = y[:2] * 10
    return y


@program(X)
def write_an_element(x):
    y = x * 1
    y[0] = y[2]
    y[-1] += 5
    return y


@program(M)
def write_a_column(m):
    n = m * 1
    n[:, 1] = 0
    n[0, ::2] *= 2
    return n


@program(X)
def write_a_mask(x):
    y = x * 1
    y[y > 0] = 7
    return y


@program(X, N)
def write_by_indices(x, n):
    y = x * 1
    y[n] = x * 2
    y[[0, 1]] += 1
    return y


@program(X, 1)
def index_by_number(x, k):
    return x[k], x[k:], x[-k], x[..., k]


@program(X, N)
def index_by_tensor(x, n):
    return x[n], x[n[0]], x[n[:2]]


@program(X, Spec(2, "int64"), looks=True)
def list_index_by_tensor(x, k):
    return [x, x * 2, x * 3][k]


@program(X, Spec(1, "int64"), looks=True)
def slice_by_tensor(x, k):
    return x[: int(k) + 1]


@program(M)
def view_then_write_base(m):
    n = m * 1
    row = n[0]
    n[0, 0] = 100
    return row * 1


@program(M)
def view_then_write_view(m):
    n = m * 1
    row = n[1]
    row *= 2
    return n


@program(M)
def view_of_a_view(m):
    n = m * 1
    v = n.T[1:][0]
    v += 10
    w = n.reshape(-1)[2:4]
    w.zero_()
    return n, v


@program(M)
def flatten_and_transpose_alias(m):
    n = m * 1
    n.flatten()[0] = 50
    n.T[2, 1] = 60
    n.unsqueeze(0)[0, 1, 0] = 70
    return n


@program(M)
def diagonal_write(m):
    n = m * 1
    n.diagonal().add_(5)
    n.narrow(1, 1, 2).mul_(2)
    return n


@program(M)
def chunks_write(m):
    n = m * 1
    a, b, c = n.split(1, 1)
    a += 1
    c *= b
    return n


@program(X, smooth=False)
def detach_shares(x):
    y = x * 1
    d = y.detach()
    return d * y, d.requires_grad


@program(X)
def clone_does_not_share(x):
    y = x * 1
    z = y.clone()
    y += 1
    return z, y


@program(M)
def out_of_expand(m):
    return m[:, :1].expand(2, 3) * m


@program(M, raises=plait.errors.ArgumentError)
def raise_write_to_expanded(m):
    m[:, :1].expand(2, 3).add_(1)


@program(X)
def argument_is_written(x):
    x += 1
    x[0] = 5
    return x * 2


@program(X, X)
def same_argument_twice(x, y):
    x += 1
    return y * 2, x is y


@program(X, X)
def same_argument_twice_read(x, y):
    return x * y, x is y


@program([X, X, Y])
def same_argument_in_a_list(items):
    return [a is b for a in items for b in items], items[0] * items[1]


@program(X)
def returns_its_argument(x):
    return x


@program(X, Y)
def returns_one_argument(x, y):
    return y, x * 2, y


@program(X)
def returns_the_same_twice(x):
    y = x * 2
    return y, y


@program(M)
def returns_a_view(m):
    return m[0], m.T


@program(M)
def returns_base_and_view(m):
    n = m * 2
    return n, n[1]


@stateful()
def returns_state():
    total = plait.zeros(2)

    def f():
        total.add_(1)
        return total

    return f, [total]


@stateful(X)
def returns_view_of_state():
    table = plait.zeros(2, 3, dtype="float64")

    def f(x):
        table[0] += x
        return table[0]

    return f, [table]


@stateful(X)
def view_of_state_is_written():
    table = plait.zeros(3, 2, dtype="float64")
    column = table[:, 1]

    def f(x):
        column.add_(x)
        return table * 2

    return f, [table]


@stateful(X)
def base_of_state_is_written():
    table = plait.zeros(3, 2, dtype="float64")
    column = table[:, 1]

    def f(x):
        table[:, 1] = x
        table[0] = 7
        return column * 2

    return f, [table, column]


@stateful(X)
def two_names_of_state():
    a = plait.zeros(3, dtype="float64")
    b = a

    def f(x):
        a.add_(x)
        b.mul_(2)
        return a - b + x

    return f, [a, b]


@stateful(X)
def state_swapped_in_place():
    a, b = plait.zeros(3, dtype="float64"), plait.ones(3, dtype="float64")

    def f(x):
        old = a.clone()
        a.copy_(b)
        b.copy_(old)
        return a * x

    return f, [a, b]


@stateful(X)
def written_many_times():
    a = plait.zeros(3, dtype="float64")

    def f(x):
        for k in range(4):
            a[k % 3] += x[0] * k
        return a.sum()

    return f, [a]


@stateful(X)
def history_of_values():
    buffer, place = plait.zeros(4, 3, dtype="float64"), plait.tensor(0)

    def f(x):
        buffer[place] = x
        place.add_(1)
        return buffer.sum(0)

    return f, [buffer, place]


@program(X, smooth=False)
def copies(x):
    y = x.detach()
    z = copy.deepcopy(y)
    w = copy.deepcopy({"a": y, "b": [y]})
    return z is y, z, w["a"] is w["b"][0], w["a"]


@program(X)
def functions_with_out_names(x):
    y = plait.zeros(3, dtype="float64")
    y.copy_(x).mul_(2).sub_(1)
    return y


@program(X, Y)
def augmented_operators(x, y):
    a = x * 1
    a += y
    a -= 1
    a *= 2
    a /= 4
    a **= 2
    return a


@program(N)
def integer_operators(n):
    a = n * 1
    a //= 2
    a <<= 2
    a |= 1
    a &= 5
    a ^= 3
    return a, ~a, a % 3, -a, +a, abs(-a), a >> 1


# shapes


@program(M)
def shape_arithmetic(m):
    rows, columns = m.shape
    return m.reshape(rows * columns), m.reshape(columns, -1), rows + columns, m.shape[::-1]


@program(M)
def len_and_iteration(m):
    return len(m), [row.sum() for row in m], len(m[0]), m.ndim, m.numel()


@program(M)
def shape_as_scale(m):
    return m / m.shape[-1] ** 0.5, m.sum() / m.numel(), math.prod(m.shape)


@program(X)
def zeros_like_shape(x):
    return plait.zeros(x.shape, dtype=x.dtype) + x, plait.arange(x.shape[0]), x.new_ones(2)


@program(M)
def transposes(m):
    return m.T @ m, m.mT.shape, m.permute(1, 0)[0]


@program(M)
def reshape_by_static_list(m):
    shape = [3, 2]
    return m.reshape(shape), m.view(*shape), m.reshape((6,))


@program(M, looks=True)
def in_operator(m):
    return 2.0 in m, 77.0 in m


# numbers


@program(X, 2, 0.5, smooth=False)
def weak_numbers(x, n, f):
    return x * n + f, n * x, f - x, n / (x + 10), 2**x, x**n, x // n, x % n


@program(spec(1, 2, dtype="int64"))
def weak_numbers_and_integers(n):
    return (n * 2).dtype.name, (n * 2.0).dtype.name, (n / 2).dtype.name, (n > 1).dtype.name, n * 2.5


@program(spec(1, 0, dtype="bool"))
def booleans(b):
    return ~b, b & True, b | b, b ^ True, b * 2, b.sum(), b.any(), b.all()


@program(spec(1.0, 2.0, dtype="float32"))
def dtypes(x):
    return x.to("float64"), x.int(), x.bool(), x.half().dtype.name, x.double() + x, (x * 2).dtype.name


@program(S, looks=True, smooth=False)
def float_of_tensor(x):
    return float(x) * 2, x * float(x)


@program(S, looks=True)
def int_of_tensor(x):
    return int(x), round(float(x), 1), bool(x), x.item(), math.floor(x)


@program(S, looks=True)
def math_of_tensor(x):
    return math.sqrt(x), x * 1


@program(S, looks=True)
def formatted(x):
    return f"{x:.2f}", f"{x.item()}", "%.1f" % x, "{:.3f}".format(x)  # noqa: UP031, UP032


@program(X)
def formatted_shape(x):
    return f"{x.shape} {x.dtype} {x.ndim}", str(len(x))


@program(X, looks=True)
def listed(x):
    return x.tolist(), [float(v) for v in x]


@program(X, looks=True)
def to_numpy(x):
    return x.detach().numpy() * 2, x * 1


@program(X, looks=True)
def any_all_in_python(x):
    return any(v > 1 for v in x), all(v > -1 for v in x)


@program(X, looks=True)
def selection_by_mask(x):
    return x[x > 0], x[x > 100].shape


@program(X, looks=True)
def argmax_as_index(x):
    return ["a", "b", "c"][int(x.argmax())], int(x.argmax())


@program(X)
def sums_with_python(x):
    return sum(x), sum([x, x]), x + 0, 0 + x, 1 - x, 1 / x, -x, abs(x), divmod(7, 2)


@program(X)
def comparisons(x):
    return x > 0, x == x, x != 1.5, (x > 0) & (x < 2), ~(x > 0)


@program(X, (1.0, 2.0, 3.0))
def static_tuple_of_numbers(x, weights):
    return sum(v * w for v, w in zip(x, weights, strict=True))


@program(X, None)
def none_argument(x, mask):
    return x if mask is None else x * mask


@program(X, "relu")
def string_argument(x, name):
    return getattr(plait, name)(x)


@program(X, slice(0, 2))
def slice_argument(x, part):
    return x[part]


@program(X, True, False)
def boolean_arguments(x, a, b):
    return x * a + b, x * (a and not b)


@program(X, 1e300, float("inf"), -0.0, smooth=False)
def extreme_numbers(x, large, infinite, zero):
    return x * large, x - infinite, x * 0 + zero


@program(X, 2 + 1j)
def complex_number(x, z):
    return x * z, (x * z).real, (x + 1j).imag


@program(X)
def where_and_clip(x):
    return plait.where(x > 0, x, -x * 2), x.clip(-0.25, 1), plait.maximum(x, x * x)
