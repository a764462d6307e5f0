package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// check reports each value of an object that the tags of its key rule out, and forgets it.
func (d *decoder) check(object reflect.Value, path *field.Path) {
	if d.unread[pathString(path)] {
		return
	}
	for _, k := range keysOf(object.Type()) {
		value, child := object.FieldByIndex(k.index), path.Child(k.name)
		_, given := d.lines[child.String()]
		switch {
		case d.unread[child.String()], value.Kind() == reflect.Pointer && value.IsNil():
		case k.required && value.IsZero() && (!given || k.bounds == nil):
			d.reject(child, "is required"+k.hint())
		case value.Kind() == reflect.Slice:
			for i := range value.Len() {
				if item := child.Index(i); !d.unread[item.String()] {
					d.checkValue(&k, value.Index(i), item)
				}
			}
		case k.enum == nil || !value.IsZero():
			d.checkValue(&k, value, child)
		}
	}
}

func (d *decoder) checkValue(k *key, value reflect.Value, path *field.Path) {
	value = reflect.Indirect(value)
	if duration, ok := value.Interface().(Duration); ok {
		if k.bounds != nil && !k.bounds.hold(float64(duration.Duration)) {
			d.reject(path, fmt.Sprintf("must be %s, not %s", k.bounds.text, duration))
		}
		return
	}
	switch {
	case value.Kind() == reflect.Struct:
		d.check(value, path)
	case k.bounds != nil && !k.bounds.hold(number(value)):
		d.reject(path, fmt.Sprintf("must be %s, not %v", k.bounds.text, value))
	case k.enum != nil && !slices.Contains(k.enum, value.String()):
		d.reject(path, fmt.Sprintf("must be %s, not %q", k.choice(), value))
	}
}

// reject is refuse for a value that was read but cannot be used.
func (d *decoder) reject(path *field.Path, message string) {
	d.report(d.line(path.String()), path, message)
	d.forget(path.String())
}

func number(value reflect.Value) float64 {
	if value.CanInt() {
		return float64(value.Int())
	}
	return value.Float()
}

// hint says what a missing value may be.
func (k *key) hint() string {
	switch {
	case k.enum != nil:
		return ": " + k.choice()
	case k.example != "":
		return ", for example " + k.example
	default:
		return ""
	}
}

func (k *key) choice() string {
	if len(k.enum) == 1 {
		return k.enum[0]
	}
	return "one of " + strings.Join(k.enum, ", ")
}
