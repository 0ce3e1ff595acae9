// The normalization that eager autograd sees: forward and backward without Python, on the kernels
// of norms.cpp and rows.cpp, which come as addresses. It is built where torch's headers are; where
// not, or where this code has nothing to say about a tensor (None), `normalize.py` does the same.
#include <ATen/EmptyTensor.h>
#include <ATen/Parallel.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/grad_mode.h>
#include <torch/csrc/autograd/python_variable.h>
#include <torch/csrc/autograd/saved_variable.h>
#include <torch/csrc/utils/pybind.h>
#include "../args.h"

namespace torch::autograd {
void deleteNode(Node*);  // before Node counted its references itself
}

namespace {

using at::Tensor;
using torch::autograd::SavedVariable;
using torch::autograd::variable_list;

constexpr int MOST = 5;  // tensors of an algebra: weight, bias, gate, fixed mean and var

void (*norm)(const visus::NormArgs*) = nullptr;
void (*layer)(const visus::LayerArgs*) = nullptr;
int64_t past = 0;  // bytes from which an output is written past the caches

// An algebra and its activation, as Python gave them. Python keeps its algebras for good; so are these.
struct Job {
  bool rows;             // a layer norm over `axes` last axes, or over the channels of pixels (0)
  double eps, constant;  // the gate, or not a number
  int64_t groups, axes, takes, learns;
  PyObject* again;  // (g, x, tensors, act, alpha) -> gradients that can be differentiated again

  bool gated() const { return constant != constant; }
};

struct Call {
  const Job* job;
  int64_t act;
  double alpha;
};

// ---- what may be taken as plain numbers in memory ------------------------------------------

bool plain(const Tensor& t) {
  static const c10::DispatchKeySet known{
      c10::DispatchKey::CPU, c10::DispatchKey::AutogradCPU, c10::DispatchKey::ADInplaceOrView, c10::DispatchKey::AutocastCPU};
  return (t.key_set().raw_repr() & ~known.raw_repr()) == 0;
}

int64_t code(at::ScalarType type) {  // as in cpp_backend.py, or -1
  switch (type) {
    case at::kFloat: return 0;
    case at::kDouble: return 1;
    case at::kBFloat16: return 2;
    case at::kHalf: return 3;
    default: return -1;
  }
}

at::ScalarType computing(const Tensor& x) { return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat; }

Tensor empty(at::IntArrayRef sizes, at::IntArrayRef strides, at::ScalarType type) { return at::detail::empty_strided_cpu(sizes, strides, type); }
Tensor empty(int64_t count, at::ScalarType type) { return empty(at::IntArrayRef(count), at::IntArrayRef(1), type); }

// Whether the channels are the last axis in memory.
bool channels_last(const Tensor& x) {
  int64_t step = 1;
  for (int64_t k = 0, d = 1; k < x.dim(); k++) {  // axes from the innermost: 1, then the last ... 2, then 0
    if (x.size(d) != 1 && x.stride(d) != step) return false;
    step *= x.size(d);
    d = k + 2 == x.dim() ? 0 : x.dim() - 1 - k;
  }
  return true;
}

Tensor to_channels_last(const Tensor& x) { return x.movedim(1, -1).contiguous().movedim(-1, 1); }

// Densely stored; contiguous unless `free` leaves the order of its axes to it.
Tensor dense(const Tensor& x, bool free) {
  return x.is_contiguous() || (free && x.dim() > 2 && channels_last(x)) ? x : x.contiguous();
}
// g in dtype and layout of x, which is dense
Tensor alike(const Tensor& given, const Tensor& x) {
  const Tensor g = given.scalar_type() == x.scalar_type() ? given : given.to(x.scalar_type());
  if (g.strides() == x.strides()) return g;
  return x.is_contiguous() ? g.contiguous() : to_channels_last(g);
}

// ---- one call of a kernel --------------------------------------------------------------------

struct Pass {
  const Call& call;
  const Job& job;
  Tensor x, y, saved;  // x densely stored; y or dx
  Tensor small[MOST];  // as the kernel takes them
  int64_t n, c, s;     // rows of layer norm: n sets of c numbers
  int64_t channels = 0;  // of channels-last rows
  bool last;

  Pass(const Call& call, const Tensor& given, const Tensor* tensors) : call(call), job(*call.job) {
    const int64_t dims = given.dim();
    x = dense(given, !job.rows || !job.axes || (job.axes == dims - 1 && dims > 2));
    y = empty(x.sizes(), x.strides(), x.scalar_type());
    if (job.rows && job.axes) {
      channels = x.is_contiguous() ? 0 : x.size(1), last = false;
      c = c10::multiply_integers(x.sizes().slice(dims - job.axes));
      n = x.numel() / c, s = 1;
    } else {
      n = x.size(0), c = x.size(1), s = x.numel() / (n * c);
      last = !x.is_contiguous() || s == 1;
    }
    for (int64_t k = 0; k < job.takes; k++)
      if (tensors[k].defined()) small[k] = (tensors[k].scalar_type() == computing(x) ? tensors[k] : tensors[k].to(computing(x))).contiguous();
  }

  static void* at(const Tensor& t) { return t.defined() ? t.mutable_data_ptr() : nullptr; }

  int64_t own() const { return job.groups ? n * job.groups : job.constant == 1 ? 0 : n * c; }
  int64_t shared() const { return job.groups || job.constant == 0 ? 0 : c; }
  int64_t sets() const { return job.axes ? n : n * s; }
  void keep() { saved = job.rows ? empty(3 * sets(), computing(x)) : empty(2 * (own() + shared()), at::kDouble); }

  void run(const Tensor& g, const Tensor* grads, const Tensor* running, double factor) const {
    const int64_t threads = at::get_num_threads(), streamed = int64_t(x.nbytes()) >= past;
    if (job.rows) return run_rows(g, grads, threads, streamed);
    double *mean = saved.mutable_data_ptr<double>(), *batch = mean + 2 * own();
    const visus::NormArgs args{
        code(x.scalar_type()), last, n, c, s, call.act, job.groups, threads, streamed, at(x), at(g), at(y),
        at(small[0]), at(small[1]), at(small[2]), at(small[3]), at(small[4]), at(running[0]), at(running[1]),
        at(grads[0]), at(grads[1]), at(grads[2]), mean, mean + own(), batch, batch + shared(),
        job.eps, call.alpha, job.gated() ? 0.0 : job.constant, factor};
    norm(&args);
  }
  void run_rows(const Tensor& g, const Tensor* grads, int64_t threads, int64_t streamed) const {
    const bool pixels = !job.axes && !last;
    const visus::LayerArgs args{
        code(x.scalar_type()), pixels, pixels ? n : sets(), c, pixels ? s : 1, call.act, threads, streamed, channels, at(x), at(g), at(y),
        at(small[0]), at(small[1]), at(grads[0]), at(grads[1]), at(saved), job.eps, call.alpha};
    layer(&args);
  }
};

// ---- the node ----------------------------------------------------------------------------------

struct Normalize : torch::autograd::Node {
  Call call;
  SavedVariable x, tensors[MOST], saved;

  std::string name() const override { return "visus::NormalizeBackward"; }

  void release_variables() override {
    std::lock_guard<std::mutex> lock(mutex_);
    x.reset_data(), saved.reset_data();
    for (SavedVariable& t : tensors) t.reset_data();
  }

  variable_list apply(variable_list&& given) override {
    Tensor x, tensors[MOST], saved;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      x = this->x.unpack(), saved = this->saved.unpack();
      for (int64_t k = 0; k < call.job->takes; k++) tensors[k] = this->tensors[k].unpack();
    }
    if (!given[0].defined()) return variable_list(1 + call.job->learns);
    if (torch::autograd::GradMode::is_enabled() || !plain(given[0]) || !plain(x)) return again(given[0], x, tensors);
    at::AutoDispatchBelowADInplaceOrView below;
    Pass pass(call, x, tensors);
    pass.saved = saved;
    Tensor grads[3];
    for (int64_t k = 0; k < call.job->learns; k++)
      if (tensors[k].defined() && task_should_compute_output(1 + k))
        grads[k] = empty(pass.small[k].sizes(), pass.small[k].strides(), pass.small[k].scalar_type());
    const Tensor none[2];
    pass.run(alike(given[0], pass.x), grads, none, 0.0);
    variable_list out{pass.y};
    out.insert(out.end(), grads, grads + call.job->learns);
    return out;
  }

  // This gradient is differentiated again, or is no plain tensor: PyTorch's operations compute it.
  variable_list again(const Tensor& g, const Tensor& x, const Tensor* tensors) const {
    pybind11::gil_scoped_acquire gil;
    pybind11::list list;
    for (int64_t k = 0; k < call.job->takes; k++) list.append(pybind11::reinterpret_steal<pybind11::object>(THPVariable_Wrap(tensors[k])));
    pybind11::object found = pybind11::handle(call.job->again)(
        pybind11::reinterpret_steal<pybind11::object>(THPVariable_Wrap(g)), pybind11::reinterpret_steal<pybind11::object>(THPVariable_Wrap(x)), list,
        call.act, call.alpha);
    variable_list out;
    for (pybind11::handle t : found) out.push_back(t.is_none() ? Tensor() : THPVariable_Unpack(t.ptr()));
    out.resize(1 + call.job->learns);
    return out;
  }
};

template <class N> auto made() {
  if constexpr (std::is_base_of_v<c10::intrusive_ptr_target, N>) return c10::make_intrusive<N>();
  else return std::shared_ptr<N>(new N(), torch::autograd::deleteNode);
}

void record(const Call& call, const Tensor& x, const Tensor* tensors, const Tensor& saved, const Tensor& y) {
  auto node = made<Normalize>();
  node->call = call;
  node->add_next_edge(torch::autograd::impl::gradient_edge(x));
  for (int64_t k = 0; k < call.job->learns; k++)
    node->add_next_edge(tensors[k].defined() ? torch::autograd::impl::gradient_edge(tensors[k]) : torch::autograd::Edge());
  node->x = SavedVariable(x, false), node->saved = SavedVariable(saved, false);
  for (int64_t k = 0; k < call.job->takes; k++) node->tensors[k] = SavedVariable(tensors[k], false);
  torch::autograd::set_history(y, node);
}

// ---- what Python calls ---------------------------------------------------------------------------

// Whether the kernels take these; `Pass` trusts in it.
bool takes(const Job& job, const Tensor& x, const Tensor* tensors) {
  if (!plain(x) || code(x.scalar_type()) < 0 || x.numel() == 0 || x.dim() < (job.rows && job.axes ? job.axes : 2)) return false;
  if (job.groups && x.size(1) % job.groups) return false;
  const int64_t many = job.rows && job.axes ? c10::multiply_integers(x.sizes().slice(x.dim() - job.axes)) : x.size(1);
  for (int64_t k = 0; k < job.takes; k++) {
    const Tensor& t = tensors[k];
    if (t.defined() && !(plain(t) && at::isFloatingType(t.scalar_type()) && t.numel() == many && !(k >= job.learns && t.requires_grad()))) return false;
  }
  return true;
}
bool updates(const Job& job, const Tensor& x, const Tensor& t) {
  return plain(t) && job.constant != 0 && t.scalar_type() == computing(x) && t.numel() == x.size(1) && t.is_contiguous();
}

bool tensor(PyObject* given, Tensor& into) {
  if (given == Py_None) return true;
  if (!THPVariable_CheckExact(given)) return false;
  into = THPVariable_Unpack(given);
  return true;
}

// (x, act, alpha, tensors, running) -> y, or None for what is not for this code
PyObject* normalize(PyObject* self, PyObject* const* args, Py_ssize_t count) {
  HANDLE_TH_ERRORS
  TORCH_CHECK(count == 5, "normalize takes 5 arguments");
  const Job* job = (const Job*)PyCapsule_GetPointer(self, nullptr);
  const Call call{job, PyLong_AsLongLong(args[1]), PyFloat_AsDouble(args[2])};
  Tensor x, tensors[MOST], running[2];
  TORCH_CHECK(!PyErr_Occurred() && PyList_Check(args[3]) && PyList_GET_SIZE(args[3]) == job->takes, "normalize: not what it takes");
  if (args[0] == Py_None || !tensor(args[0], x)) Py_RETURN_NONE;
  for (int64_t k = 0; k < job->takes; k++)
    if (!tensor(PyList_GET_ITEM(args[3], k), tensors[k])) Py_RETURN_NONE;
  if (!takes(*job, x, tensors)) Py_RETURN_NONE;
  double factor = 0;
  if (args[4] != Py_None) {
    for (int k = 0; k < 2; k++) {
      PyObject* given = PyTuple_GetItem(args[4], k);
      if (!given || given == Py_None || !tensor(given, running[k]) || !updates(*job, x, running[k])) Py_RETURN_NONE;
    }
    factor = PyFloat_AsDouble(PyTuple_GetItem(args[4], 2));
  }
  Tensor y;
  {
    pybind11::gil_scoped_release free;
    RECORD_FUNCTION("visus::normalize", c10::ArrayRef<const c10::IValue>{});
    Tensor saved;
    {
      at::AutoDispatchBelowADInplaceOrView below;
      Pass pass(call, x, tensors);
      pass.keep();
      const Tensor none[3];
      pass.run(Tensor(), none, running, factor);
      y = pass.y, saved = pass.saved;
    }
    for (const Tensor& t : running) if (t.defined()) t.unsafeGetTensorImpl()->bump_version();
    bool learns = x.requires_grad();
    for (int64_t k = 0; k < job->learns; k++) learns = learns || (tensors[k].defined() && tensors[k].requires_grad());
    if (learns && torch::autograd::GradMode::is_enabled()) record(call, x, tensors, saved, y);
  }
  return THPVariable_Wrap(std::move(y));
  END_HANDLE_TH_ERRORS
}

PyMethodDef NORMALIZE = {"normalize", (PyCFunction)(void (*)())normalize, METH_FASTCALL, "y of (x, act, alpha, tensors, running), or None"};

// (rows, eps, gate or None, groups, axes, takes, learns, again) -> a function, see `normalize`
PyObject* job(PyObject*, PyObject* args) {
  HANDLE_TH_ERRORS
  PyObject *gate, *again;
  long long groups, axes, takes, learns;
  int rows;
  double eps;
  if (!PyArg_ParseTuple(args, "pdOLLLLO", &rows, &eps, &gate, &groups, &axes, &takes, &learns, &again)) return nullptr;
  TORCH_CHECK(takes <= MOST && learns <= 3, "an algebra of too many tensors");
  Py_INCREF(again);
  Job* made = new Job{bool(rows), eps, gate == Py_None ? std::nan("") : PyFloat_AsDouble(gate), groups, axes, takes, learns, again};
  pybind11::object capsule = pybind11::reinterpret_steal<pybind11::object>(PyCapsule_New(made, nullptr, nullptr));
  return PyCFunction_New(&NORMALIZE, capsule.ptr());
  END_HANDLE_TH_ERRORS
}

// The addresses of visus_norm and visus_layer, and the bytes from which outputs go past the caches.
PyObject* kernels(PyObject*, PyObject* args) {
  unsigned long long first, second;
  long long bytes;
  if (!PyArg_ParseTuple(args, "KKL", &first, &second, &bytes)) return nullptr;
  norm = (decltype(norm))first, layer = (decltype(layer))second, past = bytes;
  Py_RETURN_NONE;
}

PyMethodDef METHODS[] = {
    {"job", job, METH_VARARGS, nullptr}, {"kernels", kernels, METH_VARARGS, nullptr}, {nullptr, nullptr, 0, nullptr}};
PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "visus_node", "Normalization under autograd", -1, METHODS};

}  // namespace

PyMODINIT_FUNC PyInit_visus_node() { return PyModule_Create(&MODULE); }
