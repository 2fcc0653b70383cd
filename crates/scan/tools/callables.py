#!/usr/bin/env python3
"""Derives `data/allowed.generated.txt` from the sources of the frameworks that `data/sources.txt` pins.

Usage: python3 callables.py CACHE        (`cargo xtask callables` does that)
The wheels are fetched by pip with their hashes and are read as text: nothing of them is installed, imported or run.

A pickle can make an object of any class without its initialiser, give it any state and drop it. So of each class of the
packages below, the methods that this runs are looked at, with what they call in turn: `__setstate__`, `__new__`, `__del__`,
attribute access, item and attribute changes, hashing and comparing. A class in which they reach files, processes, code,
other deserialisers or the network is `risky`, and no pattern of the hand-written list waves it through. Functions that
`__reduce__` names or `copyreg.pickle` registers are `make` where they do none of that and call nothing that they are given.
"""
import ast, collections, pathlib, re, subprocess, sys, zipfile

DATA = pathlib.Path(__file__).resolve().parent.parent / "data"
PLATFORMS = ["macosx_14_0_arm64", "macosx_12_0_arm64", "macosx_11_0_arm64", "macosx_11_0_universal2", "macosx_10_13_universal2", "any"]
# Packages whose classes are allowed as a whole, less the risky ones; of the others the hand-written list names the parts.
WHOLE = ["addict", "ase", "category_encoders", "e3nn", "easydict", "feature_engine", "gensim", "gymnasium", "hdbscan", "hmmlearn", "imblearn", "implicit", "lifelines", "ml_collections", "mlxtend", "munch", "networkx", "ngboost", "nltk", "omegaconf", "pmdarima", "prophet", "pycrfsuite", "pymatgen", "pyod", "shap", "skopt", "sklearn_crfsuite", "skorch", "sktime", "stable_baselines3", "statsmodels", "torch_geometric", "tslearn", "umap", "yacs"]
RUN_BY_LOADING = ["__setstate__", "__new__", "__del__", "__getattr__", "__getattribute__", "__setattr__", "__delattr__", "__setitem__", "append", "extend", "add", "__hash__", "__eq__"]
NAMES = {"eval", "exec", "compile", "__import__", "open", "input", "breakpoint", "import_module", "import_from_string", "load_library", "load_op_library", "run_module", "run_path", "Popen", "check_call", "check_output", "system", "popen", "rmtree", "unlink", "remove_file", "urlopen", "urlretrieve", "get_file", "hf_hub_download", "from_pretrained", "read_pickle", "CDLL", "start_process"}
MODULES = {"os", "subprocess", "shutil", "importlib", "runpy", "pickle", "cloudpickle", "dill", "marshal", "ctypes", "socket", "urllib", "requests", "tempfile", "multiprocessing", "builtins", "code", "pty", "tarfile", "zipfile"}
HARMLESS = {"os.path", "os.environ", "os.getpid", "os.fspath", "os.cpu_count", "os.getenv", "os.sep", "os.linesep", "os.name"}
LOADERS = {"load", "loads", "Unpickler"}
LOADING = {"torch", "np", "numpy", "joblib", "pickle", "yaml", "json5", "cloudpickle", "dill", "keras"}
BASES = {"Thread", "Process", "Popen", "TemporaryDirectory", "NamedTemporaryFile", "ModuleType", "Handler", "FileHandler", "FileIO", "Server", "Context", "Pool", "Finalize"}
DEPTH = 4
# Parts that no model names, or that are gadgets as a whole; leaving them out keeps this a matter of a minute.
LEFT_OUT = ("/tests/", "/testing/", "torch/_inductor/", "torch/_dynamo/", "torch/_export/", "torch/_refs/", "torch/onnx/", "torch/fx/", "torch/distributed/", "functorch/", "torchgen/", "transformers/models/", "/f2py/", "caffe2/", "spacy/lang/")


class Module:
    def __init__(self, name, tree, is_package):
        self.name, self.functions, self.classes, self.imports, self.registered = name, {}, {}, {}, []
        package = name if is_package else name.rpartition(".")[0]
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names: self.imports[alias.asname or alias.name.split(".")[0]] = alias.name if alias.asname else alias.name.split(".")[0]
            elif isinstance(node, ast.ImportFrom):
                base = node.module or ""
                if node.level:
                    parts = package.split(".")
                    parts = parts[:len(parts) - node.level + 1]
                    base = ".".join(parts + ([base] if base else []))
                for alias in node.names: self.imports[alias.asname or alias.name] = f"{base}.{alias.name}"
            elif isinstance(node, ast.Call) and dotted(node.func) in ("copyreg.pickle", "copy_reg.pickle") and len(node.args) > 1:
                self.registered.append(dotted(node.args[1]))
        for node in tree.body:
            for inner in [node, *getattr(node, "body", [])] if isinstance(node, (ast.If, ast.Try)) else [node]:
                if isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef)): self.functions.setdefault(inner.name, inner)
                elif isinstance(inner, ast.ClassDef): self.classes.setdefault(inner.name, inner)


def dotted(node):
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join(reversed([*parts, node.id])) if isinstance(node, ast.Name) else ""


class World:
    def __init__(self): self.modules, self.known_methods, self.known_calls = {}, {}, {}

    def read(self, wheel, packages):
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.namelist():
                if not entry.endswith(".py") or any(part in entry for part in LEFT_OUT): continue
                parts = entry[:-3].split("/")
                is_package = parts[-1] == "__init__"
                name = ".".join(parts[:-1] if is_package else parts)
                if len(parts) > 2 and not any(name == package or name.startswith(package + ".") for package in packages): continue
                try: tree = ast.parse(archive.read(entry))
                except (SyntaxError, ValueError): continue
                self.modules[name] = Module(name, tree, is_package)

    def find(self, module, path, depth=0):
        """The module and the node that a name in `module` stands for."""
        if depth > 6 or not path: return None
        head, _, rest = path.partition(".")
        if not rest:
            for table in (module.classes, module.functions):
                if head in table: return module, table[head]
        target = module.imports.get(head)
        full = f"{target}.{rest}" if target and rest else target or f"{module.name}.{path}"
        owner, _, name = full.rpartition(".")
        found = self.modules.get(owner)
        if found is None or (found is module and name == path): return None
        return self.find(found, name, depth + 1)

    def methods(self, module, node, depth=0):
        """Methods of a class with those of its bases, and the names of bases that are nowhere to be read."""
        if id(node) in self.known_methods: return self.known_methods[id(node)]
        methods, outside = {}, set()
        if depth < 12:
            for base in reversed(node.bases):
                path = dotted(base)
                found = self.find(module, path)
                if found and isinstance(found[1], ast.ClassDef):
                    inherited, more = self.methods(*found, depth + 1)
                    methods.update(inherited)
                    outside = outside | more
                elif path: outside.add(path.rpartition(".")[2])
        for item in node.body:
            if isinstance(item, ast.FunctionDef): methods[item.name] = (module, item)
        self.known_methods[id(node)] = methods, outside
        return methods, outside

    def calls(self, function):
        if id(function) not in self.known_calls:
            self.known_calls[id(function)] = [dotted(node.func) for node in ast.walk(function) if isinstance(node, ast.Call)]
        return self.known_calls[id(function)]

    def danger(self, module, function, methods, depth=0, seen=None):
        """What a function does that loading must not do, or nothing."""
        seen = set() if seen is None else seen
        if id(function) in seen or depth > DEPTH: return None
        seen.add(id(function))
        for path in self.calls(function):
            head, _, tail = path.partition(".")
            last = path.rpartition(".")[2]
            real = module.imports.get(head, head)
            full = f"{real}.{tail}" if tail else real
            top = full.split(".")[0]
            if any(full == name or full.startswith(name + ".") for name in HARMLESS): continue
            if (top in MODULES and head in module.imports) or (last in NAMES and head not in ("self", "re", "cls")) or (last in LOADERS and head in LOADING): return path
            if head in ("self", "cls") and tail in methods:
                reached = self.danger(*methods[tail], methods, depth + 1, seen)
                if reached: return reached
            elif not tail or real in self.modules:
                found = self.find(module, path)
                if found and isinstance(found[1], ast.FunctionDef):
                    reached = self.danger(*found, {}, depth + 1, seen)
                    if reached: return reached
        return None

    def risk(self, module, node):
        methods, outside = self.methods(module, node)
        if outside & BASES: return f"is a {sorted(outside & BASES)[0]}"
        for name in RUN_BY_LOADING:
            if name in methods:
                reached = self.danger(*methods[name], methods)
                if reached: return f"{name} reaches {reached}"
        return None

    def reducers(self, module):
        """Functions that pickles of this module's classes call."""
        wanted = list(module.registered)
        for node in module.classes.values():
            wanted += [path for item in node.body if isinstance(item, ast.FunctionDef) and item.name in ("__reduce__", "__reduce_ex__") for path in returned(item)]
        for path in list(module.registered):
            found = self.find(module, path)
            if found and isinstance(found[1], ast.FunctionDef): wanted += returned(found[1])
        for path in wanted:
            found = self.find(module, path)
            if found and isinstance(found[1], ast.FunctionDef) and "." not in path: yield found


def returned(function):
    for node in ast.walk(function):
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple) and node.value.elts:
            if path := dotted(node.value.elts[0]): yield path


def calls_parameter(function):
    names = {argument.arg for argument in function.args.args + function.args.kwonlyargs}
    return any(isinstance(node, ast.Call) and dotted(node.func) in names for node in ast.walk(function))


def hand_list():
    exact, patterns = set(), []
    for line in (DATA / "allowed.txt").read_text().splitlines():
        words = line.split("#")[0].split()
        if len(words) < 3: continue
        package, below = (words[1][:-3], True) if words[1].endswith(".**") else (words[1], False)
        for name in words[2:]:
            if below or "*" in name or name.startswith("["): patterns.append((package, below, re.compile(r"_*[A-Z]\w*$" if name == "[Class]" else re.escape(name).replace(r"\*", r"\w*") + "$")))
            else: exact.add((package, name))
    return exact, patterns


def main():
    cache = pathlib.Path(sys.argv[1])
    cache.mkdir(parents=True, exist_ok=True)
    platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:", "--python-version", "3.12", *platforms, "--dest", str(cache), "--requirement", str(DATA / "sources.txt")], check=True)
    exact, patterns = hand_list()
    patterns += [(package, True, re.compile(r"_*[A-Z]\w*$")) for package in WHOLE]
    packages = sorted({package for package, _, _ in patterns} | {module for module, _ in exact} - {"torch", "transformers", "numpy", "scipy", "pandas", "sklearn"} | {"sklearn"})
    world = World()
    pinned = re.findall(r"^(\S+)==(\S+)", (DATA / "sources.txt").read_text(), re.M)
    for name, version in pinned:
        stem = re.sub(r"[-_.]+", "_", name)
        for wheel in sorted(cache.glob(f"{stem}-{version}-*.whl")): world.read(wheel, packages)
    waved = lambda module, name: any((module == package or below and module.startswith(package + ".")) and pattern.match(name) for package, below, pattern in patterns)
    risky, made, why = collections.defaultdict(set), collections.defaultdict(set), {}
    for module in world.modules.values():
        public = module.name.replace("numpy._core", "numpy.core")
        for name, node in module.classes.items():
            if (public, name) in exact or not waved(public, name): continue
            # `pickle/call.rs` looks at the text that these execute.
            if public.startswith("scipy.stats.") and name.endswith("_gen"): continue
            reason = world.risk(module, node)
            if reason:
                risky[public].add(name)
                why[public, name] = reason
        for owner, function in world.reducers(module):
            place = owner.name.replace("numpy._core", "numpy.core")
            if (place, function.name) in exact: continue
            if not world.danger(owner, function, {}) and not calls_parameter(function): made[place].add(function.name)
    lines = ["# Made by `cargo xtask callables` from the sources that `sources.txt` pins; do not edit.", "#", "# The grammar is that of `allowed.txt`, whose exact lines win, and one more word: `risky`, a class that no pattern allows,", "# because making one, giving it a state or dropping it reaches what the comment names.", "", f"# {', '.join(f'{name} {version}' for name, version in pinned)}", ""]
    lines += [f"class   {package}.** [Class]" for package in sorted(WHOLE)] + [""]
    lines += [f"make    {module} {' '.join(sorted(names))}" for module, names in sorted(made.items())] + [""]
    for module, names in sorted(risky.items()):
        lines += [f"risky   {module} {name} # {why[module, name]}" for name in sorted(names)]
    (DATA / "allowed.generated.txt").write_text("\n".join(lines) + "\n")
    print(f"{len(world.modules)} modules, {sum(map(len, made.values()))} reducers, {sum(map(len, risky.values()))} risky classes")


if __name__ == "__main__":
    main()
