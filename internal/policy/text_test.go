package policy_test

import (
	"strings"
	"testing"

	"github.com/jobgate/jobgate/internal/policy"
)

func TestQuote_EscapesAndCuts(t *testing.T) {
	rows := []struct{ name, text, want string }{
		{"plain", "eu/prod", `"eu/prod"`},
		{"quotes and control characters", "a\"\n\x1b[0m", `"a\"\n\x1b[0m"`},
		{"direction of writing", "a\u202eb", `"a\u202eb"`},
		{"no UTF-8", "a\xff", `"a\xff"`},
		{"of 64 characters", strings.Repeat("ä", 64), `"` + strings.Repeat("ä", 64) + `"`},
		{"of 65 characters", strings.Repeat("ä", 65), `"` + strings.Repeat("ä", 64) + `"`},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if got := policy.Quote(row.text); got != row.want {
				t.Errorf("got %s, want %s", got, row.want)
			}
		})
	}
}

func TestPrintable_ReplacesAndCuts(t *testing.T) {
	rows := []struct{ name, text, want string }{
		{"shorter", `a "b"`, `a "b"`},
		{"as long", "12345678", "12345678"},
		{"longer by one", "123456789", "12345678…"},
		{"much longer", strings.Repeat("ä", 1000), strings.Repeat("ä", 8) + "…"},
		{"control characters", "a\n\x1b\u202eb", "a\ufffd\ufffd\ufffdb"},
		{"no UTF-8", "a\xffb", "a\ufffdb"},
		{"nothing", "", ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if got := policy.Printable(row.text, 8); got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

func TestList_ShowsFiveAndCountsTheRest(t *testing.T) {
	if got, want := policy.List([]string{"a", "b\n"}), `"a", "b\n"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := policy.ListIDs([]int64{1, 2, 3, 4, 5}), "1, 2, 3, 4, 5"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := policy.ListIDs([]int64{1, 2, 3, 4, 5, 6, 7}), "1, 2, 3, 4, 5 and 2 more"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
