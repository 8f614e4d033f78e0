"""Names of PyTorch that do not apply here, and what to use instead: looking one up raises an error that says so."""

from __future__ import annotations

from typing import Any, NoReturn

from plait.tensor.tensor import Tensor

_NAMES = {
    "plait computes dense tensors: keep indices and values as tensors, and use scatter_add, index_add or gather": """
        ccol_indices ccol_indices_copy coalesce col_indices col_indices_copy crow_indices crow_indices_copy dense_dim
        hspmm hsmm indices indices_copy is_sparse_coo resize_as_sparse_ row_indices row_indices_copy saddmm smm dsmm
        sparse sparse_bsc sparse_bsc_tensor sparse_bsr sparse_bsr_tensor sparse_compressed_tensor sparse_coo
        sparse_coo_tensor sparse_csc sparse_csc_tensor sparse_csr sparse_csr_tensor sparse_dim sparse_mask
        sparse_resize_ sparse_resize_and_clear_ spmm sspaddmm sspaddmm_ to_dense to_sparse to_sparse_bsc to_sparse_bsr
        to_sparse_coo to_sparse_csc to_sparse_csr values values_copy to_padded_tensor nested jagged
    """,
    "plait has no quantized tensors: use int8 tensors and a scale, (x / scale).round().clamp(-128, 127)": """
        dequantize empty_quantized int_repr q_per_channel_axis q_per_channel_scales q_per_channel_zero_points q_scale
        q_zero_point qint32 qint8 qscheme quantize_per_channel quantize_per_tensor quantize_per_tensor_dynamic quint2x4
        quint4x2 quint8 per_channel_affine per_channel_affine_float_qparams per_channel_symmetric per_tensor_affine
        per_tensor_symmetric choose_qparams_optimized quantized_batch_norm quantized_gru quantized_gru_cell
        quantized_lstm quantized_lstm_cell quantized_max_pool1d quantized_max_pool2d quantized_max_pool3d
        quantized_rnn_relu_cell quantized_rnn_tanh_cell fake_quantize_per_channel_affine
        fake_quantize_per_tensor_affine fused_moving_avg_obs_fake_quant quantization ao
    """,
    "values live on the CPU: leave the call out": """
        cuda ipu mps mtia xpu maia hpu pin_memory record_stream accelerator Stream Event get_device_module
        cudnn_is_acceptable set_default_device get_default_device is_vulkan_available vulkan
    """,
    "values have no storage object: use x.numpy(), or DLPack, for the memory, and y.copy_(x) to write": """
        storage storage_type untyped_storage set_ module_load const_data_ptr Storage UntypedStorage TypedStorage
        BoolStorage ByteStorage CharStorage DoubleStorage FloatStorage HalfStorage IntStorage LongStorage ShortStorage
        BFloat16Storage ComplexDoubleStorage ComplexFloatStorage share_memory_ from_file is_storage
    """,
    "values are stored densely in row-major order and kernels choose their own order: leave the argument out": """
        layout strided memory_format channels_last channels_last_3d contiguous_format preserve_format
        legacy_contiguous_format to_mkldnn
    """,
    "call a function of the whole tensor, which is compiled, or plait.pure_callback for one of Python": """
        apply_ map_ map2_
    """,
    "a tensor records the operation that made it: plait.grad and x.backward() differentiate it": """
        grad_fn volatile reinforce autograd anomaly set_anomaly_enabled is_anomaly_enabled
        is_anomaly_check_nan_enabled
    """,
    "there is no complex32: use plait.complex64": "complex32",
    "use plait.tensor(data, dtype=...)": """
        FloatTensor DoubleTensor HalfTensor BFloat16Tensor ByteTensor CharTensor ShortTensor IntTensor LongTensor
        BoolTensor set_default_tensor_type new
    """,
    "subclasses are not needed to steer operations: write a function": "as_subclass",
    "use resize_(shape), or y = x.reshape(shape)": "resize resize_as",
    "use x.to(dtype)": "type_conversion",
    "use plait.arange(start, end + step, step)": "range",
    "use plait.jit": """
        compile jit export fx import_ir_module import_ir_module_from_buffer parse_ir parse_schema
        parse_type_comment merge_type_from_type_comment unify_type_list ScriptFunction ScriptModule ScriptObject
    """,
    "it is internal to PyTorch": """
        classproperty compiled_with_cxx11_abi get_file_path prepare_multiprocessing_environment
        profiler_allow_cudagraph_cupti_lazy_reinit_cuda12 thread_safe_generator
    """,
    "multiply scaled operands with plait.matmul": "scaled_mm grouped_mm scaled_grouped_mm",
    "use plait.vmap, plait.grad, plait.jvp, plait.vjp": "functorch func",
    "use plait.data for torch.utils.data, plait.checkpoint for torch.utils.checkpoint": "utils",
    "use plait.amp.autocast and plait.amp.GradScaler": """
        GradScaler get_autocast_dtype set_autocast_dtype is_autocast_enabled set_autocast_enabled
        get_autocast_cpu_dtype get_autocast_gpu_dtype set_autocast_cpu_dtype set_autocast_gpu_dtype
        is_autocast_cpu_enabled set_autocast_cpu_enabled clear_autocast_cache autocast_decrement_nesting
        autocast_increment_nesting is_autocast_cache_enabled set_autocast_cache_enabled get_autocast_ipu_dtype
        get_autocast_xla_dtype set_autocast_ipu_dtype set_autocast_xla_dtype is_autocast_ipu_enabled
        is_autocast_xla_enabled set_autocast_ipu_enabled set_autocast_xla_enabled
    """,
    "the default dtype is float32: give dtype= where another is wanted": "set_default_dtype",
    "results do not depend on the number of threads or on the run": """
        use_deterministic_algorithms are_deterministic_algorithms_enabled set_deterministic_debug_mode
        get_deterministic_debug_mode is_deterministic_algorithms_warn_only_enabled backends
    """,
    "products are computed in the dtype of their operands": "set_float32_matmul_precision get_float32_matmul_precision",
    "use plait.no_grad()": "is_inference_mode_enabled",
    "use plait.print_options": "set_printoptions",
    "use plait.linalg.solve": "solve",
    "use plait.linalg.lstsq": "lstsq",
    "use plait.linalg.eig": "eig",
    "use plait.linalg.matrix_rank": "matrix_rank",
    "use plait.linalg.matrix_norm": "frobenius_norm nuclear_norm",
    "use plait.linalg.vector_norm over the other axes": "norm_except_dim",
    "use plait.linalg.eigh": "lobpcg symeig",
    "use plait.index_reduce, or plait.scatter_reduce": "segment_reduce",
    "use plait.nn.functional.embedding": "embedding embedding_renorm_",
    "use plait.nn.functional.embedding_bag": "embedding_bag",
    "use plait.nn.functional.affine_grid": "affine_grid_generator cudnn_affine_grid_generator",
    "use plait.nn.RNN, plait.nn.LSTM, plait.nn.GRU and their cells, or plait.scan": """
        gru gru_cell lstm lstm_cell rnn_relu rnn_relu_cell rnn_tanh rnn_tanh_cell miopen_rnn mkldnn_rnn_layer
    """,
    "it is internal to one of PyTorch's backends: use plait.nn.functional": """
        batch_norm_backward_elemt batch_norm_backward_reduce batch_norm_elemt batch_norm_gather_stats
        batch_norm_gather_stats_with_counts batch_norm_stats batch_norm_update_stats convolution cudnn_batch_norm
        cudnn_convolution cudnn_convolution_add_relu cudnn_convolution_relu cudnn_convolution_transpose
        cudnn_grid_sampler fbgemm_linear_fp16_weight fbgemm_linear_fp16_weight_fp32_activation
        fbgemm_linear_int8_weight fbgemm_linear_int8_weight_fp32_activation fbgemm_linear_quantize_weight
        fbgemm_pack_gemm_matrix_fp16 fbgemm_pack_quantized_matrix miopen_batch_norm miopen_convolution
        miopen_convolution_add_relu miopen_convolution_relu miopen_convolution_transpose miopen_ctc_loss
        miopen_depthwise_convolution mkldnn_adaptive_avg_pool2d mkldnn_convolution mkldnn_linear_backward_weights
        mkldnn_max_pool2d mkldnn_max_pool3d native_dropout native_norm slice_inverse
    """,
    "use plait.set_num_threads and plait.get_num_threads": """
        set_num_interop_threads get_num_interop_threads init_num_threads
    """,
    "use DLPack's protocol: x.__dlpack__(), plait.from_dlpack": "to_dlpack",
    "sizes are Python integers here: use Python's functions": """
        sym_constrain_range sym_constrain_range_for_size sym_float sym_fresh_size sym_int sym_ite sym_max sym_min
        sym_not sym_sqrt sym_sum
    """,
    "use plait.DType": "dtype",
    "the shape of a tensor is a tuple of integers": "Size",
    "give dtype= where float32 is not wanted": "get_default_dtype grad_dtype",
    "integers have at least 8 bits: use int8 or uint8": """
        bit bits16 bits1x8 bits2x4 bits4x2 bits8 int1 int2 int3 int4 int5 int6 int7 uint1 uint2 uint3 uint4 uint5 uint6
        uint7
    """,
    "use float8_e4m3fn or float8_e5m2": "float4_e2m1fn_x2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu",
    "use concurrent.futures": "fork wait",
    "write x[...]": "index",
    "use type(x)": "typename",
    "hash the bytes of x.numpy()": "hash_tensor",
    "denormal numbers are always kept": "set_flush_denormal",
    "use Python's warnings": "set_warn_always is_warn_always_enabled",
}
_NN_NAMES = {
    "plait has no quantized tensors: use int8 tensors and a scale": "intrinsic qat quantizable quantized",
    "one process uses all cores: call the model itself": "DataParallel parallel",
    "use CrossEntropyLoss or NLLLoss, which take images": "NLLLoss2d",
    "use Sequential, ModuleList or ModuleDict": "Container",
    "leave `options` out: the compiler chooses how the loss is computed": "LinearCrossEntropyOptions",
    "layers are names of plait.nn": "modules",
    "use plait.grad": "grad",
    "it is internal to PyTorch": "common_types factory_kwargs",
}
_NN_ADVICE = {name: advice for advice, names in _NN_NAMES.items() for name in names.split()}
ADVICE = {name: advice for advice, names in _NAMES.items() for name in names.split()}


def _refuse(owner: str, name: str, advice: str | None) -> NoReturn:
    text = f"{owner} has no attribute {name!r}"
    raise AttributeError(text if advice is None else f"{text}. Fix: {advice}.")


def of_tensor(self: Any, name: str) -> NoReturn:
    """Raise `AttributeError`; for a name of PyTorch it says what to use."""
    _refuse(f"{type(self).__name__!r} object", name, ADVICE.get(name))


def of_module(name: str) -> NoReturn:
    """Raise `AttributeError`; for a name of PyTorch it says what to use."""
    method = f"use the method: x.{name}(...)" if hasattr(Tensor, name) and not name.startswith("_") else None
    _refuse("module 'plait'", name, ADVICE.get(name, method))


def of_functional(name: str) -> NoReturn:
    """Raise `AttributeError`; for a name of PyTorch it says what to use."""
    _refuse("module 'plait.nn.functional'", name, ADVICE.get(name))


def of_nn(name: str) -> NoReturn:
    """Raise `AttributeError`; for a name of PyTorch it says what to use."""
    _refuse("module 'plait.nn'", name, _NN_ADVICE.get(name))
