"""Tells the processor what will be read."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

# Bytes of a cache line.
LINE = 64

_TO_READ, _TO_ALL_CACHES, _DATA = (ir.IntType(32)(x) for x in (0, 3, 1))


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(_context: Any, array: Any, _place: Any) -> Any:
    """Have the cache line of ``array[place]`` brought to the cache; the array is flat and contiguous."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        byte = ir.IntType(8).as_pointer()
        what = [_TO_READ.type] * 3
        function = builder.module.declare_intrinsic(
            "llvm.prefetch", [byte], ir.FunctionType(ir.VoidType(), [byte, *what])
        )
        address = builder.bitcast(builder.gep(data, [arguments[1]]), byte)
        builder.call(function, [address, _TO_READ, _TO_ALL_CACHES, _DATA])
        return context.get_dummy_value()

    return types.void(array, types.intp), code
