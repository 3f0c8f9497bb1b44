// The local client: inference through shared memory, without the network stack.
//
// Purpose: a program on the server's machine writes its tensors once, in place, and reads answers
//   where the server wrote them. Plain C, a stable ABI (structs begin with their size and only
//   grow), built as libmillrace_client.so.
// Who may call: one client object is one thread's at a time; different objects are independent.
// Ownership: a client owns its models and requests; mr_close ends them all, with every pointer that
//   was got from them.
// Invariants:
//   1. A request goes begin -> (write its data) -> submit -> wait -> (read its outputs) -> release.
//      From submit on its data may not be written. It holds one of the client's places from begin
//      to release; each submitted request comes out of mr_wait exactly once.
//   2. Outputs are read-only views, valid until mr_release of their request, or mr_close.
//   3. The server's end never faults or hangs its client: what is in flight then ends with
//      MR_UNAVAILABLE, and so does every later call; mr_connect makes a new client.
//   4. Submitted requests reach the server at the next mr_wait, mr_infer or mr_flush, or once 32
//      are there: a batch wakes the server once.
//   5. After warm-up a request allocates no memory and, while the server is awake, makes no system
//      call.
// What fails: a code of gRPC's (enum mr_code) and a sentence, mr_error of the client; of a request
//   mr_request_error.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MR_CLIENT_ABI 1
#define MR_API __attribute__((visibility("default")))

enum mr_code {
  MR_OK = 0,
  MR_CANCELLED = 1,
  MR_UNKNOWN = 2,
  MR_INVALID_ARGUMENT = 3,
  MR_DEADLINE_EXCEEDED = 4,
  MR_NOT_FOUND = 5,
  MR_PERMISSION_DENIED = 7,
  MR_RESOURCE_EXHAUSTED = 8, /* no free place or no free memory: release results first */
  MR_FAILED_PRECONDITION = 9,
  MR_INTERNAL = 13,
  MR_UNAVAILABLE = 14 /* the server is not there any more, or not ready */
};

enum mr_datatype { /* as the Open Inference Protocol names them */
                   MR_BOOL = 1,
                   MR_UINT8 = 2,
                   MR_UINT16 = 3,
                   MR_UINT32 = 4,
                   MR_UINT64 = 5,
                   MR_INT8 = 6,
                   MR_INT16 = 7,
                   MR_INT32 = 8,
                   MR_INT64 = 9,
                   MR_FP16 = 10,
                   MR_FP32 = 11,
                   MR_FP64 = 12,
                   MR_BYTES = 13, /* each element: u32 length, then its bytes */
                   MR_BF16 = 14
};

enum mr_wait_mode { /* how mr_wait waits before it sleeps */
                    MR_WAIT_YIELD =
                        0, /* gives the core away between two looks, for 100 microseconds */
                    MR_WAIT_SPIN = 1, /* for machines with a core for every lane */
                    MR_WAIT_PARK = 2  /* sleeps at once */
};

typedef struct mr_client mr_client;
typedef struct mr_model mr_model;
typedef struct mr_request mr_request;

typedef struct mr_options {
  size_t struct_bytes;        /* sizeof(mr_options) */
  uint64_t max_request_bytes; /* of one request's tensors; 0: 64 KiB */
  uint64_t max_answer_bytes;  /* of one answer's; 0: 64 KiB */
  int64_t timeout_ns;         /* of mr_connect and mr_open_model; 0: 10 s */
  int wait_mode;              /* enum mr_wait_mode */
} mr_options;

/* An input or output of a model. An input is either the ready tensor or a raw column. */
typedef struct mr_tensor_info {
  const char* name;
  int datatype;
  int is_column;       /* one of the named raw columns, [rows, 1]; a numeric one takes any number */
  size_t rank;         /* of `dims` */
  const int64_t* dims; /* without the rows */
} mr_tensor_info;

/* What a request shall hold, for mr_begin. */
typedef struct mr_input {
  uint32_t place; /* in the model's inputs */
  int32_t datatype;
  uint32_t columns; /* elements of a row */
  uint32_t reserved;
  uint64_t bytes;
} mr_input;

typedef struct mr_submit_options {
  size_t struct_bytes; /* sizeof(mr_submit_options) */
  int64_t deadline_ns; /* CLOCK_MONOTONIC; 0: the server's default */
  uint32_t priority;   /* 1 highest; 0 default */
  uint32_t outputs;    /* a bit for each place of the model's outputs; 0: all */
  void* user;          /* comes back by mr_request_user */
  /* W3C Trace Context: the caller's span, "00-...", read by the call; null: none. Servers that do
   * not know it from local clients pass it over. */
  const char* traceparent;
} mr_submit_options;

typedef struct mr_tensor {
  const char* name;
  int datatype;
  uint64_t rows;
  uint64_t columns;
  const void* data;
  uint64_t bytes;
} mr_tensor;

MR_API int mr_abi(void);

/* `path`: the server's ingress.local_listen, with or without "unix:". `options` may be null. */
MR_API int mr_connect(const char* path, const mr_options* options, mr_client** client);
MR_API void mr_close(mr_client* client);
/* The sentence of the last call that failed; of a null client: of this thread's last mr_connect. */
MR_API const char* mr_error(const mr_client* client);
MR_API int mr_connected(const mr_client* client);
/* Requests that may be held at a time, from begin to release. */
MR_API size_t mr_places(const mr_client* client);

/* `version` null or empty: the latest at the time of each request. */
MR_API int mr_open_model(mr_client* client, const char* name, const char* version,
                         mr_model** model);
MR_API size_t mr_input_count(const mr_model* model);
MR_API size_t mr_output_count(const mr_model* model);
MR_API int mr_input_info(const mr_model* model, size_t place, mr_tensor_info* info);
MR_API int mr_output_info(const mr_model* model, size_t place, mr_tensor_info* info);
MR_API uint32_t mr_max_rows(const mr_model* model);

/* Memory for the inputs of one request. `count` 0: the model's ready tensors as declared. */
MR_API int mr_begin(mr_client* client, mr_model* model, uint32_t rows, const mr_input* inputs,
                    size_t count, mr_request** request);
/* Where input `i` of the request is to be written, aligned for its datatype. */
MR_API void* mr_input_data(mr_request* request, size_t i, uint64_t* bytes);
/* `options` may be null. */
MR_API int mr_submit(mr_client* client, mr_request* request, const mr_submit_options* options);
MR_API void mr_flush(mr_client* client);
/* Requests that have ended, at most `most`: their number. Waits for the first until `timeout_ns`
 * from now: 0 only looks, negative waits for ever. 0 also when nothing is in flight. */
MR_API size_t mr_wait(mr_client* client, mr_request** ended, size_t most, int64_t timeout_ns);
/* Asks for an early end; the request still comes out of mr_wait. */
MR_API int mr_cancel(mr_client* client, mr_request* request);
/* Submit, and wait for this one; what else ends meanwhile is mr_wait's next. Its code. */
MR_API int mr_infer(mr_client* client, mr_request* request, const mr_submit_options* options);

MR_API int mr_request_code(const mr_request* request);
MR_API const char* mr_request_error(const mr_request* request);
MR_API void* mr_request_user(const mr_request* request);
/* The number of the version that answered; 0 without one. */
MR_API uint32_t mr_request_version(const mr_request* request);
MR_API size_t mr_result_count(const mr_request* request);
MR_API int mr_result(const mr_request* request, size_t i, mr_tensor* tensor);
/* Of a request that was begun and not submitted, or that has ended. One in flight is released when
 * it ends, and does not come out of mr_wait. */
MR_API void mr_release(mr_client* client, mr_request* request);

#ifdef __cplusplus
}
#endif
