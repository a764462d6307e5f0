package gitlabtest

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestClone_SharesNothing fills every field of an Instance, so that a field added without a line in clone is found.
func TestClone_SharesNothing(t *testing.T) {
	var w Instance
	fill(reflect.ValueOf(&w).Elem())
	copied := w.clone()
	if diff := cmp.Diff(w, copied); diff != "" {
		t.Fatalf("the copy differs: %s", diff)
	}
	for _, path := range shared("Instance", reflect.ValueOf(w), reflect.ValueOf(copied)) {
		t.Errorf("%s is shared", path)
	}
}

// fill sets every exported slice, map and pointer to one filled element.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(v.Field(i))
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		element := reflect.New(v.Type().Elem()).Elem()
		fill(element)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.Zero(v.Type().Key()), element)
	case reflect.String:
		v.SetString("filled")
	}
}

// shared names the slices and maps that both values point to.
func shared(path string, a, b reflect.Value) []string {
	var found []string
	switch a.Kind() {
	case reflect.Struct:
		for i := range a.NumField() {
			if a.Type().Field(i).IsExported() {
				found = append(found, shared(path+"."+a.Type().Field(i).Name, a.Field(i), b.Field(i))...)
			}
		}
	case reflect.Slice:
		if a.Pointer() == b.Pointer() {
			found = append(found, path)
		}
		for i := range a.Len() {
			found = append(found, shared(fmt.Sprintf("%s[%d]", path, i), a.Index(i), b.Index(i))...)
		}
	case reflect.Map, reflect.Pointer:
		if a.Pointer() == b.Pointer() {
			found = append(found, path)
		}
	}
	return found
}
