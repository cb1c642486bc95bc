/* Convolution and max-pooling on one CPU core, called by XLA.

Arrays are as XLA has them by default: [image, height, width, channel]. A convolution
works on as many images at once as a vector has lanes, a block: nothing is lost at
borders, and no number of channels is an unlucky one. Rows of a block are transposed to
[width, channel, image], with zeros around them and in lanes without an image, and rows
of results back: three or so at a time, which stay in the first-level cache. Sums stay in
registers, for two pixels (or two channels in) times as many channels out as there are
registers for, so that each number loaded is used more than once.

Direct convolution as in Georganas et al. (2018), https://arxiv.org/abs/1808.05567, but
over images instead of channels.
*/
#include <stdint.h>
#include <string.h>

#include "xla/ffi/api/c_api.h"

/* The most rows that a gradient's sums stay in the registers for. */
#define MOST_ROWS 32

/* Lanes of a vector, and of how many results two sums each fit the registers. */
#if defined(__AVX512F__)
#define LANES 16
#define MOST 14
#elif defined(__AVX__)
#define LANES 8
#define MOST 6
#elif defined(__x86_64__) || defined(__i386__)
#define LANES 4
#define MOST 6
#else
#define LANES 4
#define MOST 14
#endif

#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* Loads are the limit, and GCC would rather load a number twice than keep it. */
#if defined(__AVX512F__)
#define IN_REGISTER(v) __asm__("" : "+v"(v))
#elif defined(__x86_64__) || defined(__i386__)
#define IN_REGISTER(v) __asm__("" : "+x"(v))
#elif defined(__aarch64__)
#define IN_REGISTER(v) __asm__("" : "+w"(v))
#else
#define IN_REGISTER(v)
#endif

typedef float vector __attribute__((vector_size(4 * LANES), aligned(4)));
typedef int64_t i64;

/* The even and odd lanes of a result are the first, or last, halves of `a` and `b`. */
#if LANES == 16
#define FIRST 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define LAST 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif LANES == 8
#define FIRST 0, 8, 1, 9, 2, 10, 3, 11
#define LAST 4, 12, 5, 13, 6, 14, 7, 15
#else
#define FIRST 0, 4, 1, 5
#define LAST 2, 6, 3, 7
#endif
#if defined(__clang__)
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
typedef int32_t lanes __attribute__((vector_size(4 * LANES)));
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (lanes){__VA_ARGS__})
#endif

typedef struct {
  i64 channels, height, width;
} size;

typedef struct {
  size in, out;            /* of the images convolved, and of the result */
  i64 kernel_h, kernel_w;
  i64 above, left;         /* zeros before the first row and column */
  i64 rows_at_once;        /* of a gradient, before sums leave the registers */
  i64 images;
} shape;

static inline i64 min(i64 a, i64 b) { return a < b ? a : b; }
static inline i64 max(i64 a, i64 b) { return a > b ? a : b; }

static inline i64 padded_w(const shape *s) { return s->out.width + s->kernel_w - 1; }
static inline i64 row_size(const shape *s) { return padded_w(s) * s->in.channels; }

/* Channels are taken in parts of at most MOST, as even as can be. */
static inline i64 parts(i64 channels) { return (channels + MOST - 1) / MOST; }
static inline i64 part_start(i64 channels, i64 part) {
  return part * channels / parts(channels);
}

INLINE void transpose(vector rows[LANES]) {
  UNROLL for (int round = LANES; round > 1; round /= 2) {
    vector next[LANES];
    UNROLL for (int i = 0; i < LANES / 2; i++) {
      next[2 * i] = SHUFFLE(rows[i], rows[i + LANES / 2], FIRST);
      next[2 * i + 1] = SHUFFLE(rows[i], rows[i + LANES / 2], LAST);
    }
    UNROLL for (int i = 0; i < LANES; i++) rows[i] = next[i];
  }
}

INLINE void gather_lanes(const float *from, i64 stride, i64 count, vector *to) {
  vector rows[LANES];
  UNROLL for (int j = 0; j < LANES; j++)
    rows[j] = j < count ? *(const vector *)(from + j * stride) : (vector){0};
  transpose(rows);
  UNROLL for (int j = 0; j < LANES; j++) to[j] = rows[j];
}

/* `length` numbers of each of `count` images, the next one `stride` numbers on, to
   [length, lane]. */
static void gather(const float *from, i64 stride, i64 count, i64 length, vector *to) {
  i64 i = 0;
  for (; i + LANES <= length; i += LANES)
    if (count == LANES)
      gather_lanes(from + i, stride, LANES, to + i);
    else
      gather_lanes(from + i, stride, count, to + i);
  for (; i < length; i++) {
    vector v = {0};
    for (i64 j = 0; j < count; j++) v[j] = from[j * stride + i];
    to[i] = v;
  }
}

/* The inverse of `gather`. */
static void scatter(const vector *from, i64 stride, i64 count, i64 length, float *to) {
  i64 i = 0;
  for (; i + LANES <= length; i += LANES) {
    vector rows[LANES];
    UNROLL for (int j = 0; j < LANES; j++) rows[j] = from[i + j];
    transpose(rows);
    UNROLL for (int j = 0; j < LANES; j++)
      if (j < count) *(vector *)(to + j * stride + i) = rows[j];
  }
  for (; i < length; i++)
    for (i64 j = 0; j < count; j++) to[j * stride + i] = from[i][j];
}

/* Where a row of a block is, among `rows` that are kept. */
static vector *row_at(const shape *s, vector *kept, i64 rows, i64 y) {
  return kept + y % rows * row_size(s);
}

/* Row `y` of a block, counted with the zeros above, to where `row_at` has it. What is
   left and right of the images stays. */
static void gather_row(const shape *s, const float *images, i64 count, i64 y,
                       vector *kept, i64 rows) {
  i64 start = max(0, -s->left), end = min(s->in.width, padded_w(s) - s->left);
  i64 length = max(0, end - start) * s->in.channels, width = s->in.width * s->in.channels;
  vector *to = row_at(s, kept, rows, y) + (s->left + start) * s->in.channels;
  y -= s->above;
  if (y < 0 || y >= s->in.height)
    memset(to, 0, length * sizeof(vector));
  else
    gather(images + y * width + start * s->in.channels, s->in.height * width, count,
           length, to);
}

/* T channels of PIXELS neighbours, in row `y` from column `x` on. */
INLINE void result_tile(const int T, const int PIXELS, const shape *s, vector *kept,
                        i64 y, i64 x, const float *kernel, vector *out) {
  vector sums[2][MOST];
  i64 length = s->kernel_w * s->in.channels;
  UNROLL for (int p = 0; p < PIXELS; p++)
    UNROLL for (int t = 0; t < T; t++) sums[p][t] = (vector){0};
  for (i64 i = 0; i < s->kernel_h; i++) {
    const vector *v = row_at(s, kept, s->kernel_h, y + i) + x * s->in.channels;
    for (i64 j = 0; j < length; j++, v++, kernel += T) {
      vector pixels[2];
      UNROLL for (int p = 0; p < PIXELS; p++) pixels[p] = v[p * s->in.channels];
      UNROLL for (int t = 0; t < T; t++)
        UNROLL for (int p = 0; p < PIXELS; p++) sums[p][t] += pixels[p] * kernel[t];
    }
  }
  UNROLL for (int p = 0; p < PIXELS; p++)
    UNROLL for (int t = 0; t < T; t++)
      out[p * s->out.channels + t] = sums[p][t];
}

/* Adds the products of rows of T channels of the gradient, [height, width, T], and of
   CHANNELS channels of the images, in rows `in` from `shift` on. */
INLINE void gradient_tile(const int T, const int CHANNELS, const shape *s, i64 height,
                          const vector *const *in, i64 shift, const vector *gradient,
                          vector *sums) {
  vector kept[2][MOST];
  UNROLL for (int c = 0; c < CHANNELS; c++)
    UNROLL for (int t = 0; t < T; t++) kept[c][t] = sums[c * T + t];
  for (i64 y = 0; y < height; y++) {
    const vector *v = in[y] + shift;
    for (i64 x = 0; x < s->out.width; x++, v += CHANNELS, gradient += T) {
      vector pixels[2];
      UNROLL for (int c = 0; c < CHANNELS; c++) pixels[c] = v[c];
      UNROLL for (int t = 0; t < T; t++) {
        vector g = gradient[t];
        IN_REGISTER(g);
        UNROLL for (int c = 0; c < CHANNELS; c++) kept[c][t] += pixels[c] * g;
      }
    }
  }
  UNROLL for (int c = 0; c < CHANNELS; c++)
    UNROLL for (int t = 0; t < T; t++) sums[c * T + t] = kept[c][t];
}

/* A function for each number of channels, so that sums are in registers. */
#if MOST == 14
#define EACH(M) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11) M(12) M(13) M(14)
#else
#define EACH(M) M(1) M(2) M(3) M(4) M(5) M(6)
#endif
#define RESULT(T, N) \
  static void result_##N##_##T(const shape *s, vector *kept, i64 y, i64 x, \
                               const float *kernel, vector *out) { \
    result_tile(T, N, s, kept, y, x, kernel, out); \
  }
#define GRADIENT(T, N) \
  static void gradient_##N##_##T(const shape *s, i64 height, const vector *const *in, \
                                 i64 shift, const vector *gradient, vector *sums) { \
    gradient_tile(T, N, s, height, in, shift, gradient, sums); \
  }
#define DEFINE(T) RESULT(T, 1) RESULT(T, 2) GRADIENT(T, 1) GRADIENT(T, 2)
EACH(DEFINE)

typedef void result_function(const shape *, vector *, i64, i64, const float *, vector *);
typedef void gradient_function(const shape *, i64, const vector *const *, i64,
                               const vector *, vector *);
#define RESULTS(T) {result_1_##T, result_2_##T},
#define GRADIENTS(T) {gradient_1_##T, gradient_2_##T},
static result_function *const result_functions[][2] = {EACH(RESULTS)};
static gradient_function *const gradient_functions[][2] = {EACH(GRADIENTS)};

/* The kernel by parts of channels out: [part, height, width, channel in, its channels].
   With `mirrored`, of [height, width, out, in] and turned by half: it then takes
   gradients of results to gradients of images. */
static void pack_kernel(const shape *s, const float *kernel, int mirrored, float *to) {
  i64 in = s->in.channels, out = s->out.channels, taps = s->kernel_h * s->kernel_w;
  for (i64 part = 0; part < parts(out); part++)
    for (i64 tap = 0; tap < taps; tap++)
      for (i64 c = 0; c < in; c++)
        for (i64 o = part_start(out, part); o < part_start(out, part + 1); o++)
          *to++ = mirrored ? kernel[((taps - 1 - tap) * out + o) * in + c]
                           : kernel[(tap * in + c) * out + o];
}

static void convolve(const shape *s, const float *images, const float *kernel,
                     int mirrored, float *out, vector *scratch) {
  i64 taps = s->kernel_h * s->kernel_w * s->in.channels, channels = s->out.channels;
  i64 in_size = s->in.height * s->in.width * s->in.channels;
  i64 out_row = s->out.width * channels, out_size = s->out.height * out_row;
  vector *kept = scratch, *row = kept + s->kernel_h * row_size(s);
  float *packed = (float *)(row + out_row);
  memset(kept, 0, s->kernel_h * row_size(s) * sizeof(vector));
  pack_kernel(s, kernel, mirrored, packed);
  for (i64 first = 0; first < s->images; first += LANES) {
    i64 count = min(LANES, s->images - first);
    for (i64 y = 0; y < s->kernel_h - 1; y++)
      gather_row(s, images + first * in_size, count, y, kept, s->kernel_h);
    for (i64 y = 0; y < s->out.height; y++) {
      gather_row(s, images + first * in_size, count, y + s->kernel_h - 1, kept,
                 s->kernel_h);
      for (i64 part = 0; part < parts(channels); part++) {
        i64 start = part_start(channels, part), end = part_start(channels, part + 1);
        result_function *const *functions = result_functions[end - start - 1];
        for (i64 x = 0; x < s->out.width; x += 2)
          functions[x + 1 < s->out.width](s, kept, y, x, packed + start * taps,
                                          row + x * channels + start);
      }
      scatter(row, out_size, count, out_row, out + first * out_size + y * out_row);
    }
  }
}

static float sum_lanes(vector v) {
  float sums[LANES];
  memcpy(sums, &v, sizeof sums);
  for (int half = LANES / 2; half > 0; half /= 2)
    for (int i = 0; i < half; i++) sums[i] += sums[i + half];
  return sums[0];
}

/* [pixels, channel] to [part, pixels, its channels]; a part ends where the next one
   starts. */
static void split(const vector *from, i64 pixels, i64 channels, i64 start, i64 end,
                  vector *to) {
  for (i64 x = 0; x < pixels; x++)
    for (i64 c = start; c < end; c++) *to++ = from[x * channels + c];
}

static void kernel_gradient(const shape *s, const float *images, const float *gradient,
                            float *out, vector *scratch) {
  i64 in_channels = s->in.channels, out_channels = s->out.channels;
  i64 taps = s->kernel_h * s->kernel_w, size = taps * in_channels * out_channels;
  i64 in_size = s->in.height * s->in.width * in_channels;
  i64 out_row = s->out.width * out_channels, out_size = s->out.height * out_row;
  i64 at_once = s->rows_at_once, rows = at_once + s->kernel_h - 1;
  i64 in_row = row_size(s);
  vector *kept = scratch, *row = kept + rows * in_row, *whole = row + at_once * out_row;
  vector *sums = whole + max(in_row, at_once * out_row);
  memset(whole, 0, in_row * sizeof(vector));
  memset(sums, 0, size * sizeof(vector));
  for (i64 first = 0; first < s->images; first += LANES) {
    i64 count = min(LANES, s->images - first), gathered = 0;
    for (i64 top = 0; top < s->out.height; top += at_once) {
      i64 height = min(at_once, s->out.height - top);
      /* The gradient first: borders of `whole` are zeros for rows of images. */
      gather(gradient + first * out_size + top * out_row, out_size, count,
             height * out_row, whole);
      for (i64 part = 0; part < parts(out_channels); part++) {
        i64 start = part_start(out_channels, part);
        split(whole, height * s->out.width, out_channels, start,
              part_start(out_channels, part + 1), row + start * height * s->out.width);
      }
      memset(whole, 0, in_row * sizeof(vector));
      for (; gathered < top + height + s->kernel_h - 1; gathered++) {
        gather_row(s, images + first * in_size, count, gathered, whole, 1);
        for (i64 c = 0; c < in_channels; c += 2)
          split(whole, padded_w(s), in_channels, c, min(c + 2, in_channels),
                kept + gathered % rows * in_row + c * padded_w(s));
      }
      vector *sum = sums;
      for (i64 part = 0; part < parts(out_channels); part++) {
        i64 start = part_start(out_channels, part);
        i64 length = part_start(out_channels, part + 1) - start;
        for (i64 tap = 0; tap < taps; tap++) {
          const vector *in[MOST_ROWS];
          for (i64 y = 0; y < height; y++)
            in[y] = kept + (top + y + tap / s->kernel_w) % rows * in_row;
          for (i64 c = 0; c < in_channels; c += 2) {
            i64 channels = min(2, in_channels - c);
            gradient_functions[length - 1][channels - 1](
                s, height, in, c * padded_w(s) + tap % s->kernel_w * channels,
                row + start * height * s->out.width, sum);
            sum += channels * length;
          }
        }
      }
    }
  }
  /* [part, height, width, channel in, its channels], back to one array. */
  for (i64 part = 0; part < parts(out_channels); part++) {
    i64 start = part_start(out_channels, part), end = part_start(out_channels, part + 1);
    for (i64 i = 0; i < taps * in_channels; i++)
      for (i64 o = start; o < end; o++) out[i * out_channels + o] = sum_lanes(*sums++);
  }
}

/* ---- What XLA calls. ------------------------------------------------------------- */

static XLA_FFI_Error *fail(XLA_FFI_CallFrame *frame, const char *message) {
  XLA_FFI_Error_Create_Args args = {
      .struct_size = XLA_FFI_Error_Create_Args_STRUCT_SIZE,
      .message = message,
      .errc = XLA_FFI_Error_Code_INVALID_ARGUMENT,
  };
  return frame->api->XLA_FFI_Error_Create(&args);
}

/* Whether XLA only asks which version of its interface this was compiled with. */
static int is_question(XLA_FFI_CallFrame *frame) {
  /* The type of an extension has another name in each version. */
  if (!frame->extension_start ||
      frame->extension_start->type != XLA_FFI_Extension_Metadata)
    return 0;
  XLA_FFI_Metadata *metadata =
      ((XLA_FFI_Metadata_Extension *)frame->extension_start)->metadata;
  metadata->api_version.major_version = XLA_FFI_API_MAJOR;
  metadata->api_version.minor_version = XLA_FFI_API_MINOR;
  return 1;
}

static const XLA_FFI_Buffer *argument(XLA_FFI_CallFrame *frame, int i) {
  return frame->args.args[i];
}

static const XLA_FFI_Buffer *result(XLA_FFI_CallFrame *frame, int i) {
  return frame->rets.rets[i];
}

/* The last four dimensions; those before are of a `vmap`, of size 1 where an argument is
   the same for all. */
static const i64 *last_four(const XLA_FFI_Buffer *b) { return b->dims + b->rank - 4; }

static i64 volume(const XLA_FFI_Buffer *b) {
  const i64 *dims = last_four(b);
  return dims[0] * dims[1] * dims[2] * dims[3];
}

static i64 mapped(const XLA_FFI_Buffer *b) {
  i64 count = 1;
  for (i64 d = 0; d < b->rank - 4; d++) count *= b->dims[d];
  return count;
}

/* The part of an argument that belongs to part `i` of a result. */
static float *part_of(const XLA_FFI_Buffer *b, const XLA_FFI_Buffer *result, i64 i) {
  i64 offset = 0, stride = volume(b);
  for (i64 d = result->rank - 5; d >= 0; d--) {
    if (b->dims[d] > 1) offset += i % result->dims[d] * stride;
    stride *= b->dims[d];
    i /= result->dims[d];
  }
  return (float *)b->data + offset;
}

/* Of [..., image, height, width, channel]. */
static size size_of(const XLA_FFI_Buffer *images) {
  const i64 *dims = last_four(images);
  return (size){dims[3], dims[1], dims[2]};
}

/* Where the second result, which has room for it, can hold vectors: a load across two
   lines of the cache takes twice as long. */
static vector *scratch_of(XLA_FFI_CallFrame *frame) {
  return (vector *)(((uintptr_t)result(frame, 1)->data + 63) & ~(uintptr_t)63);
}

static shape shape_of(XLA_FFI_CallFrame *frame, const XLA_FFI_Buffer *in,
                      const XLA_FFI_Buffer *kernel, const XLA_FFI_Buffer *out) {
  const i64 *numbers = ((XLA_FFI_Array *)frame->attrs.attrs[0])->data;
  const i64 *window = last_four(kernel);
  return (shape){size_of(in), size_of(out), window[0],  window[1],
                 numbers[0],  numbers[1],   numbers[2], last_four(in)[0]};
}

static XLA_FFI_Error *call_convolve(XLA_FFI_CallFrame *frame, int mirrored) {
  if (is_question(frame)) return NULL;
  if (frame->args.size != 2 || frame->rets.size != 2 || frame->attrs.size != 1)
    return fail(frame, "a convolution takes images, a kernel and padding");
  const XLA_FFI_Buffer *images = argument(frame, 0), *kernel = argument(frame, 1);
  shape s = shape_of(frame, images, kernel, result(frame, 0));
  const XLA_FFI_Buffer *out = result(frame, 0);
  for (i64 i = 0; i < mapped(out); i++)
    convolve(&s, part_of(images, out, i), part_of(kernel, out, i), mirrored,
             part_of(out, out, i), scratch_of(frame));
  return NULL;
}

XLA_FFI_Error *fmnist_jax_convolution(XLA_FFI_CallFrame *frame) {
  return call_convolve(frame, 0);
}

XLA_FFI_Error *fmnist_jax_convolution_images_gradient(XLA_FFI_CallFrame *frame) {
  return call_convolve(frame, 1);
}

XLA_FFI_Error *fmnist_jax_convolution_kernel_gradient(XLA_FFI_CallFrame *frame) {
  if (is_question(frame)) return NULL;
  if (frame->args.size != 2 || frame->rets.size != 2 || frame->attrs.size != 1)
    return fail(frame, "a kernel's gradient takes images, a gradient and padding");
  const XLA_FFI_Buffer *images = argument(frame, 0), *gradient = argument(frame, 1);
  shape s = shape_of(frame, images, result(frame, 0), gradient);
  if (s.rows_at_once < 1 || s.rows_at_once > MOST_ROWS)
    return fail(frame, "a kernel's gradient takes 1 to 32 rows at once");
  const XLA_FFI_Buffer *out = result(frame, 0);
  for (i64 i = 0; i < mapped(out); i++)
    kernel_gradient(&s, part_of(images, out, i), part_of(gradient, out, i),
                    part_of(out, out, i), scratch_of(frame));
  return NULL;
}

/* Channels of a pixel are pooled by fours, the last four of them overlapping those before.
   Fewer than four are copied to where there are four. */
typedef float four __attribute__((vector_size(16), aligned(4)));
typedef int32_t mask __attribute__((vector_size(16)));

static inline four where(mask m, four a, four b) {
  return (four)((m & (mask)a) | (~m & (mask)b));
}

static inline four load_four(const float *from, i64 count) {
  if (count >= 4) return *(const four *)from;
  four v = {0};
  for (i64 i = 0; i < count; i++) v[i] = from[i];
  return v;
}

static inline void store_four(float *to, four v, i64 count) {
  if (count >= 4) {
    *(four *)to = v;
  } else {
    for (i64 i = 0; i < count; i++) to[i] = v[i];
  }
}

static inline i64 start_of_four(i64 i, i64 channels) {
  return max(0, min(i, channels - 4));
}

/* The larger ones; what is no number stays none, as in XLA. */
static inline four larger(four a, four b) { return where((b > a) | (b != b), b, a); }

/* The largest of 2x2 pixels: `from` and the next, and those a row on. */
static void pool_pixel(const float *from, i64 row, i64 channels, float *to) {
  for (i64 i = 0; i < channels; i += 4) {
    i64 start = start_of_four(i, channels);
    const float *p = from + start;
    four top = larger(load_four(p, channels), load_four(p + channels, channels));
    four bottom =
        larger(load_four(p + row, channels), load_four(p + row + channels, channels));
    store_four(to + start, larger(top, bottom), channels);
  }
}

/* Gives a gradient to the first of the largest of 2x2 pixels. */
static void pool_pixel_gradient(const float *from, i64 row, i64 channels,
                                const float *gradient, float *to) {
  const four zero = {0};
  for (i64 i = 0; i < channels; i += 4) {
    i64 start = start_of_four(i, channels);
    const float *p = from + start;
    four a = load_four(p, channels), b = load_four(p + channels, channels);
    four c = load_four(p + row, channels), d = load_four(p + row + channels, channels);
    four g = load_four(gradient + start, channels);
    mask is_above = where(a >= b, a, b) >= where(c >= d, c, d);
    four above = where(is_above, g, zero), below = where(is_above, zero, g);
    float *q = to + start;
    store_four(q, where(a >= b, above, zero), channels);
    store_four(q + channels, where(a >= b, zero, above), channels);
    store_four(q + row, where(c >= d, below, zero), channels);
    store_four(q + row + channels, where(c >= d, zero, below), channels);
  }
}

static void pool(size in, size out, i64 images, const float *from, float *to) {
  i64 row = in.width * in.channels;
  for (i64 y = 0; y < images * out.height; y++) {
    i64 start = (y / out.height * in.height + y % out.height * 2) * row;
    for (i64 x = 0; x < out.width; x++, start += 2 * in.channels, to += in.channels)
      pool_pixel(from + start, row, in.channels, to);
  }
}

static void pool_gradient(size in, size out, i64 images, const float *from,
                          const float *gradient, float *to) {
  i64 row = in.width * in.channels;
  if (in.height % 2 || in.width % 2)
    memset(to, 0, images * in.height * row * sizeof(float));
  for (i64 y = 0; y < images * out.height; y++) {
    i64 start = (y / out.height * in.height + y % out.height * 2) * row;
    for (i64 x = 0; x < out.width; x++, start += 2 * in.channels) {
      pool_pixel_gradient(from + start, row, in.channels, gradient, to + start);
      gradient += in.channels;
    }
  }
}

/* The largest of each 2x2 pixels. */
XLA_FFI_Error *fmnist_jax_max_pool(XLA_FFI_CallFrame *frame) {
  if (is_question(frame)) return NULL;
  if (frame->args.size != 1 || frame->rets.size != 1)
    return fail(frame, "a max-pool takes images");
  const XLA_FFI_Buffer *images = argument(frame, 0), *out = result(frame, 0);
  for (i64 i = 0; i < mapped(out); i++)
    pool(size_of(images), size_of(out), last_four(images)[0], part_of(images, out, i),
         part_of(out, out, i));
  return NULL;
}

/* Gives each gradient to the first of the largest of its 2x2 pixels. */
XLA_FFI_Error *fmnist_jax_max_pool_gradient(XLA_FFI_CallFrame *frame) {
  if (is_question(frame)) return NULL;
  if (frame->args.size != 2 || frame->rets.size != 1)
    return fail(frame, "a max-pool's gradient takes images and a gradient");
  const XLA_FFI_Buffer *images = argument(frame, 0), *gradient = argument(frame, 1);
  const XLA_FFI_Buffer *out = result(frame, 0);
  for (i64 i = 0; i < mapped(out); i++)
    pool_gradient(size_of(images), size_of(gradient), last_four(images)[0],
                  part_of(images, out, i), part_of(gradient, out, i),
                  part_of(out, out, i));
  return NULL;
}
