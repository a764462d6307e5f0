package main

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/jobgate/jobgate/certs"
	"github.com/jobgate/jobgate/internal/daemon"
	"github.com/jobgate/jobgate/internal/decision"
)

const (
	root           = "../../"
	operationsPage = root + "docs/operations.md"
)

// The table of metrics has every metric of a running jobgate with its labels, and no other.
func TestOperations_ListsEveryMetric(t *testing.T) {
	documented := map[string]string{}
	row := regexp.MustCompile("(?m)^\\| `(jobgate_[a-z_]+)(?:\\{([a-z_,]+)\\})?` \\|")
	for _, m := range row.FindAllStringSubmatch(section(t, operationsPage, "Metrics"), -1) {
		if _, twice := documented[m[1]]; twice {
			t.Errorf("%s is listed twice", m[1])
		}
		documented[m[1]] = m[2]
	}
	registered := map[string]string{}
	for name, labels := range servedMetrics(t) {
		registered[name] = strings.Join(labels, ",")
	}
	if diff := cmp.Diff(registered, documented); diff != "" {
		t.Errorf("metrics and their labels (-registered +documented):\n%s", diff)
	}
}

// The page names every reason of a rejected token and every rule of a denied request that a metric can show.
func TestOperations_ListsReasonsAndRules(t *testing.T) {
	text := section(t, operationsPage, "Metrics")
	for _, kind := range []struct{ heading, file, typeName string }{
		{"Reasons of a rejected token", root + "tokenreview/rejected.go", "Reason"},
		{"Rules of a denied request", root + "authz/denial.go", "Rule"},
	} {
		_, list, found := strings.Cut(text, "### "+kind.heading+"\n")
		if !found {
			t.Errorf("there is no %q under Metrics", kind.heading)
			continue
		}
		list, _, _ = strings.Cut(list, "\n### ")
		var documented []string
		for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|").FindAllStringSubmatch(list, -1) {
			documented = append(documented, m[1])
		}
		if diff := cmp.Diff(stringConstants(t, kind.file, kind.typeName), documented); diff != "" {
			t.Errorf("%s (-%s +documented):\n%s", kind.heading, kind.file, diff)
		}
	}
}

// The page's table has the fields of a decision's record, and no other.
func TestOperations_ListsTheFieldsOfADecision(t *testing.T) {
	_, table, found := strings.Cut(section(t, operationsPage, "Logs"), "### The decision log\n")
	if !found {
		t.Fatal("there is no section on the decision log")
	}
	var documented, fields []string
	for _, row := range regexp.MustCompile("(?m)^\\| (`[a-zA-Z`, ]+`) \\|").FindAllStringSubmatch(table, -1) {
		for _, m := range regexp.MustCompile("`([a-zA-Z]+)`").FindAllStringSubmatch(row[1], -1) {
			documented = append(documented, m[1])
		}
	}
	record := reflect.TypeFor[decision.Record]()
	for i := range record.NumField() {
		name, _, _ := strings.Cut(record.Field(i).Tag.Get("json"), ",")
		fields = append(fields, name)
	}
	slices.Sort(documented)
	slices.Sort(fields)
	if diff := cmp.Diff(fields, documented); diff != "" {
		t.Errorf("fields (-record +documented):\n%s", diff)
	}
}

// servedMetrics are the metrics of jobgate's own that serve registers, with their labels, whether or not they have
// values yet.
func servedMetrics(t *testing.T) map[string][]string {
	t.Helper()
	file := writeConfig(t, "https://gitlab.example.com", "")
	pki := filepath.Join(t.TempDir(), "pki")
	if _, err := certs.OpenPKI(pki).Issue(certs.Request{}); err != nil {
		t.Fatal(err)
	}
	d, err := daemon.New(t.Context(), daemon.Options{ConfigFile: file, PKI: pki, Version: "v0.0.0"})
	if err != nil {
		t.Fatal(err)
	}
	metrics := d.Metrics()
	ended, end := context.WithCancel(t.Context())
	end() // so that it only gives back what it holds
	defer func() {
		if err := d.Run(ended); err != nil {
			t.Error(err)
		}
	}()
	descs := make(chan *prometheus.Desc)
	go func() {
		metrics.Describe(descs)
		close(descs)
	}()
	// A Desc has no other way to be read than its text.
	form := regexp.MustCompile(`fqName: "(jobgate_[a-z_]+)".* constLabels: \{(.*)\}, variableLabels: \{([a-z_,]*)\}`)
	constant := regexp.MustCompile(`([a-z_]+)="[^"]*"`)
	named := map[string][]string{}
	for d := range descs {
		m := form.FindStringSubmatch(d.String())
		if m == nil {
			continue
		}
		labels := constant.ReplaceAllString(m[2], "$1") + "," + m[3]
		named[m[1]] = strings.FieldsFunc(labels, func(r rune) bool { return r == ',' })
	}
	if len(named) == 0 {
		t.Fatal("no metric of jobgate's could be read")
	}
	return named
}

// stringConstants are the values of a file's constants of a type, in their order.
func stringConstants(t *testing.T, file, typeName string) []string {
	t.Helper()
	tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	ast.Inspect(tree, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if name, ok := spec.Type.(*ast.Ident); ok && name.Name == typeName {
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, value)
		}
		return true
	})
	return values
}

// section is what stands under a heading of the second level.
func section(t *testing.T, page, heading string) string {
	t.Helper()
	_, text, found := strings.Cut(readPage(t, page), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("%s has no section %q", page, heading)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	return text
}

// block is the one block of code of a kind.
func block(t *testing.T, page, kind string) string {
	t.Helper()
	var found []string
	for _, m := range fence.FindAllStringSubmatch(readPage(t, page), -1) {
		if m[1] == kind {
			found = append(found, m[2])
		}
	}
	if len(found) != 1 {
		t.Fatalf("%s has %d blocks %q, want one", page, len(found), kind)
	}
	return found[0]
}

// Every test that the page on security names for a promise is in the tree.
func TestSecurity_PromisesHaveTheirTests(t *testing.T) {
	tests := map[string]bool{}
	declaration := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		for _, m := range declaration.FindAllStringSubmatch(readPage(t, path), -1) {
			tests[m[1]] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	promises := regexp.MustCompile(`(?m)^\| [^|]+ \| (.+) \|$`).FindAllStringSubmatch(section(t, root+"docs/security.md", "Promises and their tests"), -1)
	named := 0
	for _, promise := range promises {
		for _, m := range regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(promise[1], -1) {
			named++
			if !tests[m[1]] {
				t.Errorf("there is no test %s", m[1])
			}
		}
	}
	if named < len(promises)-2 { // the table's head is two lines
		t.Errorf("%d tests for %d lines of the table: a promise has none", named, len(promises))
	}
}
