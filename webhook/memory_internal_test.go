package webhook

import (
	"bytes"
	"strings"
	"testing"
)

// A buffer goes back without what was in it, also where the body broke off.
func TestRecycle_LeavesNothing(t *testing.T) {
	body := bytes.NewBuffer(make([]byte, 0, usualBody))
	body.WriteString(strings.Repeat("secret", 100))
	recycle(body)
	if left := body.AvailableBuffer(); !bytes.Equal(left[:cap(left)], make([]byte, usualBody)) {
		t.Error("something of the body is left")
	}
}
