package main

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/jobgate/jobgate/image/internal/pack"
)

// documents are what lies beside the program.
type documents struct {
	license, modules, changelog []byte
	manuals                     []pack.File // jobgate.1, jobgate-serve.1, ...
	completions                 map[string][]byte
}

// shells are those that jobgate writes completions for, with the name that each one's completion has in an archive.
func shells() map[string]string {
	return map[string]string{"bash": "jobgate.bash", "zsh": "_jobgate", "fish": "jobgate.fish", "powershell": "jobgate.ps1"}
}

func readDocuments(o options) (documents, error) {
	d := documents{completions: map[string][]byte{}}
	for file, into := range map[string]*[]byte{o.license: &d.license, o.modules: &d.modules, o.changelog: &d.changelog} {
		content, err := os.ReadFile(file)
		if err != nil {
			return d, fmt.Errorf("documents: %w", err)
		}
		*into = content
	}
	folder := filepath.Join(o.documents, "man", "man1")
	entries, err := os.ReadDir(folder)
	if err != nil {
		return d, fmt.Errorf("man pages: %w", err)
	}
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			return d, fmt.Errorf("man pages: %w", err)
		}
		d.manuals = append(d.manuals, pack.File{Name: entry.Name(), Mode: 0o644, Content: content})
	}
	if len(d.manuals) == 0 {
		return d, fmt.Errorf("man pages: %s has none", folder)
	}
	for shell := range shells() {
		content, err := os.ReadFile(filepath.Join(o.documents, "completions", shell))
		if err != nil {
			return d, fmt.Errorf("completion: %w", err)
		}
		if !strings.Contains(string(content), "jobgate") {
			return d, fmt.Errorf("completion for %s says nothing about jobgate", shell)
		}
		d.completions[shell] = content
	}
	return d, nil
}

// files are the documents as an archive has them.
func (d documents) files() []pack.File {
	files := []pack.File{
		{Name: "LICENSE", Mode: 0o644, Content: d.license},
		{Name: "THIRD-PARTY-LICENSES.txt", Mode: 0o644, Content: d.modules},
		{Name: "CHANGELOG.md", Mode: 0o644, Content: d.changelog},
	}
	for _, shell := range []string{"bash", "fish", "powershell", "zsh"} {
		files = append(files, pack.File{Name: path.Join("completions", shells()[shell]), Mode: 0o644, Content: d.completions[shell]})
	}
	for _, manual := range d.manuals {
		manual.Name = path.Join("man/man1", manual.Name)
		files = append(files, manual)
	}
	return files
}
