package config

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

const (
	page       = "../../docs/configuration.md"
	pageSchema = "../../docs/configuration.schema.json"
	// generated begins the part of the page that is written here.
	generated = "<!-- The rest of this page is written from the types: UPDATE_DOCS=1 go test ./internal/config -->\n"
)

func TestReference_IsThatOfTheTypes(t *testing.T) {
	before, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	intro, _, found := strings.Cut(string(before), generated)
	if !found {
		t.Fatalf("%s has no line %q", page, generated)
	}
	r := reference{}
	r.object("", reflect.ValueOf(*Default()))
	checkWritten(t, page, intro+generated+r.String())
}

func TestReference_SchemaIsThatOfTheTypes(t *testing.T) {
	schema, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	checkWritten(t, pageSchema, string(schema))
}

// checkWritten compares a file with what it has to be, or makes it so.
func checkWritten(t *testing.T, file, want string) {
	t.Helper()
	if os.Getenv("UPDATE_DOCS") != "" {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("%s is not up to date (-want +got); run UPDATE_DOCS=1 go test ./internal/config\n%s", file, diff)
	}
}

func TestReference_EveryKeyIsDescribed(t *testing.T) {
	eachKey(reflect.TypeFor[Configuration](), "", func(path string, k key) {
		switch {
		case !strings.HasSuffix(k.doc, "."):
			t.Errorf("%s: doc is not a sentence: %q", path, k.doc)
		case k.cost != "" && !strings.HasSuffix(k.cost, "."):
			t.Errorf("%s: cost is not a sentence: %q", path, k.cost)
		case strings.ContainsAny(k.doc+k.cost, "`"):
			t.Errorf("%s: doc and cost are plain text", path)
		}
	})
}

// An example is a value that its key takes.
func TestReference_EveryExampleIsValid(t *testing.T) {
	eachKey(reflect.TypeFor[Configuration](), "", func(path string, k key) {
		if k.example == "" {
			return
		}
		object := reflect.New(reflect.StructOf([]reflect.StructField{{
			Name: "Key", Type: k.typ, Tag: reflect.StructTag(fmt.Sprintf(`json:"key" enum:%q`, strings.Join(k.enum, ","))),
		}}))
		root, problem := parseDocument([]byte("key: " + k.example))
		if problem != nil {
			t.Fatalf("%s: %v", path, problem)
		}
		d := decode(root, object.Interface())
		d.check(object.Elem(), nil)
		value := reflect.Indirect(object.Elem().Field(0))
		if k.bounds != nil && value.CanInt() && !k.bounds.hold(number(value)) {
			t.Errorf("%s: %s is not %s", path, k.example, k.bounds.text)
		}
		if len(d.problems) > 0 {
			t.Errorf("%s: %v", path, d.problems)
		}
	})
}

// The defaults need no entry in a file, so they are within the bounds.
func TestReference_DefaultsAreWithinTheirBounds(t *testing.T) {
	root, _ := parseDocument([]byte("{}"))
	c := Default()
	d := decode(root, c)
	d.check(reflect.ValueOf(c).Elem(), nil)
	for _, problem := range d.problems {
		if !strings.HasPrefix(problem.Message, "is required") {
			t.Error(problem)
		}
	}
}

// eachKey visits the keys of an object, and of the objects in it, with their paths.
func eachKey(object reflect.Type, path string, visit func(path string, k key)) {
	for _, k := range keysOf(object) {
		visit(path+k.name, k)
		if inner := innerObject(k.typ); inner != nil {
			eachKey(inner, path+k.name+suffixOf(k.typ)+".", visit)
		}
	}
}

// innerObject is the type of an object that a value is, or is a list of; nil for any other value.
func innerObject(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Slice || t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[Duration]() {
		return nil
	}
	return t
}

func suffixOf(t reflect.Type) string {
	if t.Kind() == reflect.Slice {
		return "[]"
	}
	return ""
}

// reference is the page: a heading for each key.
type reference struct{ strings.Builder }

func (r *reference) object(path string, defaults reflect.Value) {
	for _, k := range keysOf(defaults.Type()) {
		value := defaults.FieldByIndex(k.index)
		inner := innerObject(k.typ)
		heading := "###"
		if path == "" {
			heading = "##"
		}
		fmt.Fprintf(r, "\n%s %s\n\n", heading, markdown(path+k.name))
		fmt.Fprintf(r, "%s\n", strings.Join(facts(&k, value), " · "))
		fmt.Fprintf(r, "\n%s\n", markdown(k.doc))
		if k.cost != "" {
			fmt.Fprintf(r, "\n*What it costs:* %s\n", markdown(k.cost))
		}
		if inner == nil {
			continue
		}
		if value.Type() != inner {
			value = reflect.New(inner).Elem()
		}
		r.object(path+k.name+suffixOf(k.typ)+".", value)
	}
}

// facts are the type, the default, the bounds and the example of a key.
func facts(k *key, value reflect.Value) []string {
	all := []string{typeText(k.typ)}
	switch text := k.defaultText(value); {
	case k.required && value.IsZero():
		all = append(all, "**required**")
	case text != "":
		if unquoted := ""; yaml.Unmarshal([]byte(text), &unquoted) == nil && unquoted != "" {
			text = unquoted
		}
		all = append(all, "default `"+text+"`")
	}
	if k.bounds != nil {
		all = append(all, k.bounds.text)
	}
	if k.enum != nil {
		all = append(all, "`"+strings.Join(k.enum, "`, `")+"`")
	}
	if k.example != "" {
		all = append(all, "example `"+k.name+": "+k.example+"`")
	}
	return all
}

func typeText(t reflect.Type) string {
	switch {
	case t.Kind() == reflect.Pointer:
		return typeText(t.Elem())
	case t.Kind() == reflect.Slice && innerObject(t) != nil:
		return "list of objects"
	case t.Kind() == reflect.Slice:
		return "list of " + strings.TrimPrefix(strings.TrimPrefix(typeText(t.Elem()), "an "), "a ") + "s"
	case t == reflect.TypeFor[Duration]():
		return "duration"
	case t.Kind() == reflect.Struct:
		return "object"
	default:
		return strings.TrimPrefix(strings.TrimPrefix(scalars[t.Kind()].name, "an "), "a ")
	}
}

// markdown shows plain text as it is, but for pages, which become links.
func markdown(text string) string {
	words := strings.Split(strings.NewReplacer("*", `\*`, "<", `\<`).Replace(text), " ")
	for i, word := range words {
		if name, ok := strings.CutPrefix(word, "docs/"); ok {
			name, dot, _ := strings.Cut(name, ".md")
			words[i] = fmt.Sprintf("[%s.md](%s.md)%s", name, name, dot)
		}
	}
	return strings.Join(words, " ")
}
