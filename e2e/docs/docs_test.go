package docs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/e2e/docs"
)

const sample = "# Title\n\nRun `jobgate version` or `make`, or `make\ndemo`.\n\n" +
	"```sh run node\njobgate version\n```\n\n" +
	"1. A list:\n\n   ```text printed k3s\n   one\n     two\n\n   three\n   ```\n\n" +
	"    kubectl get pods\n    no command\n\n```\nplain\n```\n"

func write(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"README.md": "r\n", "CONTRIBUTING.md": "c\n", "e2e/README.md": "e\n", "docs/sample.md": text} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func pages(t *testing.T, dir string) []*docs.Page {
	t.Helper()
	all, err := docs.Pages(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 4 || all[0].Path != "docs/sample.md" {
		t.Fatalf("there are %d pages, the first is %s", len(all), all[0].Path)
	}
	return all
}

func TestPages_BlocksSpansAndCommands(t *testing.T) {
	page := pages(t, write(t, sample))[0]
	var blocks []string
	for _, b := range page.Blocks {
		blocks = append(blocks, b.String()+"\n"+b.Text)
	}
	want := []string{
		"docs/sample.md:7 (```sh run node)\njobgate version\n",
		"docs/sample.md:13 (```text printed k3s)\none\n  two\n\nthree\n",
		"docs/sample.md:23 (```)\nplain\n",
	}
	if diff := cmp.Diff(want, blocks); diff != "" {
		t.Errorf("blocks (-want +got):\n%s", diff)
	}
	spans := []docs.Line{{Number: 3, Text: "jobgate version"}, {Number: 3, Text: "make"}, {Number: 3, Text: "make demo"}}
	if diff := cmp.Diff(spans, page.Spans()); diff != "" {
		t.Errorf("spans (-want +got):\n%s", diff)
	}
	indented := []docs.Line{{Number: 19, Text: "    kubectl get pods"}}
	if diff := cmp.Diff(indented, docs.Commands(page.Indented())); diff != "" {
		t.Errorf("indented commands (-want +got):\n%s", diff)
	}
	if !page.Blocks[0].Is("sh", "run") || page.Blocks[0].Is("sh", "make") || page.Blocks[2].Is("sh") {
		t.Error("blocks are not what they are")
	}
}

func TestRewrite_ChangesOneBlockAndNothingElse(t *testing.T) {
	dir := write(t, sample)
	if err := pages(t, dir)[0].Rewrite(map[int]string{1: "four\n\n  five\n"}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "docs/sample.md"))
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(sample, "   one\n     two\n\n   three\n", "   four\n\n     five\n", 1)
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestPages_ABlockWithoutEndIsAnError(t *testing.T) {
	if _, err := docs.Pages(write(t, "```sh run node\njobgate version\n")); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("error is %v", err)
	}
}

func TestCommands_WhatLooksLikeOne(t *testing.T) {
	for _, row := range []struct {
		name, line string
		want       bool
	}{
		{"a program", "kubectl get pods", true},
		{"alone", "make", true},
		{"behind a prompt", "$ jobgate version", true},
		{"with a variable", "KEEP=1 make demo", true},
		{"as root", "sudo systemctl restart k3s", true},
		{"prose", "makers of jobgate", false},
		{"a diagram", "CI job --Bearer--> kube-apiserver", false},
		{"a flag", "--authorization-config=FILE", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := len(docs.Commands([]docs.Line{{Text: row.line}})) == 1; got != row.want {
				t.Errorf("got %t, want %t", got, row.want)
			}
		})
	}
}
