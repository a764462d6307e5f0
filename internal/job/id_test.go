package job_test

import (
	"strconv"
	"testing"

	"github.com/jobgate/jobgate/internal/job"
)

func TestParseID(t *testing.T) {
	for _, text := range []string{
		"", "0", "01", "-1", "+1", " 1", "1 ", "1.0", "0x7b", "1_0", "abc", "１", "9223372036854775808", "99999999999999999999",
	} {
		if id, ok := job.ParseID(text); ok {
			t.Errorf("ParseID(%q) = %d, want no id", text, id)
		}
	}
	for _, want := range []int64{1, 9, 10, 42, 1<<53 + 1, 1<<63 - 1} {
		if id, ok := job.ParseID(strconv.FormatInt(want, 10)); !ok || id != want {
			t.Errorf("ParseID(%d) = %d, %t", want, id, ok)
		}
	}
}
