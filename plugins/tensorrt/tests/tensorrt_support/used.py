"""The names of TensorRT's Python interface that the plugin uses, by class or enum."""

from __future__ import annotations

__all__ = ["ARGUMENTS", "ARGUMENTS_RTX", "USED", "USED_RTX"]

USED: dict[str, tuple[str, ...]] = {
    "Builder": (
        "create_network",
        "create_builder_config",
        "create_optimization_profile",
        "build_serialized_network",
    ),
    "OnnxParser": ("parse_from_file", "num_errors", "get_error"),
    "ParserError": ("desc",),
    "INetworkDefinition": ("num_inputs", "get_input", "num_outputs", "get_output", "unmark_output"),
    "ITensor": ("name", "shape", "dtype"),
    "IOptimizationProfile": ("set_shape",),
    "IBuilderConfig": (
        "add_optimization_profile",
        "set_memory_pool_limit",
        "progress_monitor",
        "create_timing_cache",
        "set_timing_cache",
        "get_timing_cache",
        "clear_flag",
    ),
    "ITimingCache": ("serialize",),
    "IProgressMonitor": ("phase_start", "step_complete", "phase_finish"),
    "ILogger": ("log", "Severity"),
    "ILogger.Severity": ("INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"),
    "Runtime": ("deserialize_cuda_engine",),
    "ICudaEngine": (
        "num_io_tensors",
        "get_tensor_name",
        "get_tensor_mode",
        "get_tensor_dtype",
        "get_tensor_shape",
        "num_optimization_profiles",
        "get_tensor_profile_shape",
        "create_execution_context",
    ),
    "IExecutionContext": (
        "set_optimization_profile_async",
        "set_input_shape",
        "set_tensor_address",
        "get_tensor_shape",
        "execute_async_v3",
    ),
    "NetworkDefinitionCreationFlag": ("STRONGLY_TYPED",),
    "MemoryPoolType": ("WORKSPACE",),
    "BuilderFlag": ("TF32",),
    "TensorIOMode": ("INPUT", "OUTPUT"),
    "DataType": ("FLOAT", "HALF", "BF16", "INT8", "INT32", "INT64", "BOOL", "UINT8"),
}

USED_RTX: dict[str, tuple[str, ...]] = {
    "IBuilderConfig": ("set_compute_capability", "num_compute_capabilities"),
    "Runtime": ("get_engine_validity",),
    "EngineValidity": ("INVALID",),
    "ComputeCapability": ("__members__",),
}
"""Names that only TensorRT-RTX has."""

ARGUMENTS: dict[str, tuple[str, ...]] = {
    "Builder.create_network": ("flags",),
    "Builder.build_serialized_network": ("network", "config"),
    "OnnxParser.__init__": ("network", "logger"),
    "OnnxParser.parse_from_file": ("model",),
    "OnnxParser.get_error": ("index",),
    "INetworkDefinition.get_input": ("index",),
    "INetworkDefinition.get_output": ("index",),
    "INetworkDefinition.unmark_output": ("tensor",),
    "IOptimizationProfile.set_shape": ("input", "min", "opt", "max"),
    "IBuilderConfig.add_optimization_profile": ("profile",),
    "IBuilderConfig.set_memory_pool_limit": ("pool", "pool_size"),
    "IBuilderConfig.create_timing_cache": ("serialized_timing_cache",),
    "IBuilderConfig.clear_flag": ("flag",),
    "IBuilderConfig.set_timing_cache": ("cache", "ignore_mismatch"),
    "IProgressMonitor.phase_start": ("phase_name", "parent_phase", "num_steps"),
    "IProgressMonitor.step_complete": ("phase_name", "step"),
    "IProgressMonitor.phase_finish": ("phase_name",),
    "ILogger.log": ("severity", "msg"),
    "Runtime.deserialize_cuda_engine": ("serialized_engine",),
    "ICudaEngine.get_tensor_name": ("index",),
    "ICudaEngine.get_tensor_mode": ("name",),
    "ICudaEngine.get_tensor_dtype": ("name",),
    "ICudaEngine.get_tensor_shape": ("name",),
    "ICudaEngine.get_tensor_profile_shape": ("name", "profile_index"),
    "IExecutionContext.set_optimization_profile_async": ("profile_index", "stream_handle"),
    "IExecutionContext.set_input_shape": ("name", "shape"),
    "IExecutionContext.set_tensor_address": ("name", "memory"),
    "IExecutionContext.get_tensor_shape": ("name",),
    "IExecutionContext.execute_async_v3": ("stream_handle",),
}
"""The arguments of functions, in their order: most are passed by position."""

ARGUMENTS_RTX: dict[str, tuple[str, ...]] = {
    "IBuilderConfig.set_compute_capability": ("compute_capability", "index"),
}
