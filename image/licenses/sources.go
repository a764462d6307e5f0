package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// source is where something compiled was compiled from.
type source struct{ name, dir string }

// locate finds Go's own source and that of the modules. A module's sum must be the one in the program.
func locate(modules []module) ([]source, error) {
	root, err := goCommand("env", "GOROOT")
	if err != nil {
		return nil, err
	}
	sources := []source{{name: "Go", dir: strings.TrimSpace(string(root))}}
	if len(modules) == 0 {
		return sources, nil
	}
	args := []string{"mod", "download", "-json"}
	for _, m := range modules {
		args = append(args, m.String())
	}
	out, err := goCommand(args...)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(out))
	for _, m := range modules {
		var got struct{ Dir, Sum, Error string }
		if err := decoder.Decode(&got); err != nil {
			return nil, fmt.Errorf("read what go mod download prints about %s: %w", m, err)
		}
		if got.Error != "" {
			return nil, fmt.Errorf("download %s: %s", m, got.Error)
		}
		if got.Sum != m.sum {
			return nil, fmt.Errorf("%s has the sum %s, and the program was built from %s", m, got.Sum, m.sum)
		}
		sources = append(sources, source{name: m.path + " " + m.version, dir: got.Dir})
	}
	return sources, nil
}

// goCommand runs outside of any module, so that no go.mod decides what is found. Sums are compared by locate.
func goCommand(args ...string) ([]byte, error) {
	cmd := exec.Command("go", args...) //nolint:gosec,noctx // it ends with this program; the arguments are names of modules in the programs of the release
	cmd.Dir = os.TempDir()
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "GOSUMDB=off")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil, fmt.Errorf("go %s: %w\n%s%s", args[0], err, exit.Stderr, out)
	}
	if err != nil {
		return nil, fmt.Errorf("go %s: %w", args[0], err)
	}
	return out, nil
}

// licenseName is how a file with a licence is called, unless it is code with such a name.
var (
	licenseName = regexp.MustCompile(`(?i)^(un)?(licen[cs]e|copying|copyright|notice|patents)([-._].*)?$`)
	sourceName  = regexp.MustCompile(`(?i)\.(go|s|sh|py|js|json|yaml|yml|tmpl|tpl|html)$`)
)

// foreign are folders whose licences belong to what is not compiled: copies of other modules, and test data.
func foreign(name string) bool {
	switch name {
	case "vendor", "testdata", "LICENSES", "node_modules":
		return true
	default:
		return strings.HasPrefix(name, ".")
	}
}

// licenseFiles are the licences at the root of a source and in folders with code that its authors took from elsewhere.
func licenseFiles(dir string) ([]string, error) {
	var files []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != "." && foreign(entry.Name()):
			return fs.SkipDir
		case entry.Type().IsRegular() && licenseName.MatchString(entry.Name()) && !sourceName.MatchString(entry.Name()):
			files = append(files, filepath.FromSlash(path))
		}
		return nil
	})
	return files, err
}
