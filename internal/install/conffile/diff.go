package conffile

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"

	"github.com/pmezard/go-difflib/difflib"
)

// secretLine is a line of a kubeconfig, or of another file that a person may have put there, whose value is a secret.
var secretLine = regexp.MustCompile(`(?im)^((?:.*[^a-z0-9])?(?:client-key-data|token|password|secret)["']?\s*[:=]).*$`)

var privateKey = []byte("PRIVATE KEY-----")

// Diff is the change as a unified diff of what is there and what is wanted, named as the file in dir; empty where both
// are equal. Nothing in it is a secret: a file with a private key in it is not shown, nor are values of secret keys.
func (c Change) Diff(dir string) string {
	if bytes.Equal(c.Old, c.New) || c.Outcome == Extra {
		return ""
	}
	name := dir + "/" + c.Path
	if c.secret || bytes.Contains(c.Old, privateKey) || bytes.Contains(c.New, privateKey) {
		return fmt.Sprintf("--- %s\n+++ %s\n(not shown: there is a secret in it)\n", name, name)
	}
	from := name
	if c.Old == nil {
		from = "/dev/null"
	}
	// Writing to memory does not fail.
	text, _ := difflib.GetUnifiedDiffString(difflib.UnifiedDiff{
		A: lines(c.Old), B: lines(c.New), FromFile: from, ToFile: name, Context: 3,
	})
	return text
}

// lines are the text's lines with their ends; a last line without one gets the words that diff has for it.
func lines(text []byte) []string {
	hidden := secretLine.ReplaceAllString(string(text), "$1 (not shown)")
	split := strings.SplitAfter(hidden, "\n")
	if last := len(split) - 1; split[last] == "" {
		return split[:last]
	}
	split[len(split)-1] += "\n\\ No newline at end of file\n"
	return split
}
