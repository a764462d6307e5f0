// Command licenses prints the licences of all modules that are compiled into programs, with Go's own. It reads the modules
// from the programs and their texts from the module cache.
package main

import (
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "licenses:", err)
		os.Exit(1)
	}
}

// run prints the licences of the modules in the binaries. It fails if a module has none: it must not be released.
func run(binaries []string, stdout io.Writer) error {
	if len(binaries) == 0 {
		return errors.New("name at least one binary")
	}
	modules, err := readModules(binaries)
	if err != nil {
		return err
	}
	sources, err := locate(modules)
	if err != nil {
		return err
	}
	var texts collection
	for _, s := range sources {
		if err := texts.add(s); err != nil {
			return err
		}
	}
	return texts.print(stdout)
}

// module is what a program says about a module in it.
type module struct{ path, version, sum string }

func (m module) String() string { return m.path + "@" + m.version }

// ours is jobgate itself, whose licence is not a third party's.
const ours = "github.com/jobgate/jobgate"

// readModules are the modules of all binaries, each once, ordered by name.
func readModules(binaries []string) ([]module, error) {
	seen := map[module]bool{}
	for _, file := range binaries {
		build, err := buildinfo.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("binary %s: %w", file, err)
		}
		if build.Main.Path != ours {
			seen[compiled(&build.Main)] = true
		}
		for _, m := range build.Deps {
			seen[compiled(m)] = true
		}
	}
	return slices.SortedFunc(maps.Keys(seen), func(a, b module) int { return strings.Compare(a.String(), b.String()) }), nil
}

// compiled is what was compiled: in place of a replaced module, the replacement.
func compiled(m *debug.Module) module {
	for m.Replace != nil {
		m = m.Replace
	}
	return module{path: m.Path, version: m.Version, sum: m.Sum}
}

// collection has each text once, with everything that it is the licence of.
type collection struct {
	texts []string
	of    map[string][]string
}

// add finds the licences of a source.
func (c *collection) add(s source) error {
	files, err := licenseFiles(s.dir)
	if err != nil {
		return fmt.Errorf("licences of %s: %w", s.name, err)
	}
	if len(files) == 0 {
		return fmt.Errorf("%s has no licence: ask its authors, or do without it", s.name)
	}
	for _, name := range files {
		text, err := os.ReadFile(filepath.Join(s.dir, name))
		if err != nil {
			return fmt.Errorf("licences of %s: %w", s.name, err)
		}
		c.put(strings.TrimSpace(string(text)), fmt.Sprintf("%s (%s)", s.name, filepath.ToSlash(name)))
	}
	return nil
}

func (c *collection) put(text, owner string) {
	if c.of == nil {
		c.of = map[string][]string{}
	}
	if _, known := c.of[text]; !known {
		c.texts = append(c.texts, text)
	}
	c.of[text] = append(c.of[text], owner)
}

func (c *collection) print(w io.Writer) error {
	var b strings.Builder
	b.WriteString("The licences of the Go modules in this release, and of Go. Each text follows the names of what it belongs to.\n")
	for _, text := range c.texts {
		b.WriteString("\n" + strings.Repeat("=", 80) + "\n" + strings.Join(c.of[text], "\n") + "\n\n" + text + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
