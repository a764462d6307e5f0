package job

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"reflect"
	"testing"
)

// An HMAC that is used again remembers nothing of a token.
func TestKey_NothingOfATokenStays(t *testing.T) {
	mac := hmac.New(sha256.New, make([]byte, sha256.Size))
	r := &Registry{}
	r.macs.New = func() any { return mac }
	c := Credential{Token: "glcbt-64_VerySecretVerySecret"}
	first := r.key(c)
	if second := r.key(c); second != first {
		t.Error("one token has two keys")
	}
	if holds(reflect.ValueOf(mac), []byte(c.Token[20:])) {
		t.Error("the HMAC holds a part of the token")
	}
}

// holds says whether the value, or what it points to, has the bytes in an array or a slice.
func holds(v reflect.Value, want []byte) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return !v.IsNil() && holds(v.Elem(), want)
	case reflect.Struct:
		for _, field := range v.Fields() {
			if holds(field, want) {
				return true
			}
		}
	case reflect.Array, reflect.Slice:
		var text []byte
		for i := range v.Len() {
			if v.Index(i).Kind() == reflect.Uint8 {
				text = append(text, byte(v.Index(i).Uint()))
			}
		}
		return bytes.Contains(text, want)
	}
	return false
}
