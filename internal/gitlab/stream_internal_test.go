package gitlab

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// BenchmarkAllowedAgents reads replies that list many agents, of which one is configured: what a refresh costs beside the request.
func BenchmarkAllowedAgents(b *testing.B) {
	for _, row := range []struct{ agents, size int }{
		{1, 200}, {10, 200}, {100, 200}, {1000, 200}, {10000, 200}, {100, 120 << 10},
	} {
		b.Run(fmt.Sprintf("%d agents of %d bytes", row.agents, row.size), func(b *testing.B) {
			body := manyAgents(row.agents, row.size)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := readAllowedAgents(strings.NewReader(body), map[int64]bool{4: true}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// manyAgents is a reply that lists agents from 4 on, with a configuration of about that many bytes each.
func manyAgents(n, size int) string {
	entries := make([]string, n)
	for i := range entries {
		entries[i] = fmt.Sprintf(`{"id":%d,"config_project":{"id":7,"path_with_namespace":"a/b"},`+
			`"configuration":{"environments":["%s"]}}`, i+4, strings.Repeat("e", size))
	}
	return `{"allowed_agents":[` + strings.Join(entries, ",") +
		`],"job":{"id":1},"pipeline":{"id":2},"project":{"id":3},"user":{"id":4,"username":"u"}}`
}

func TestReadAllowedAgents_SizeIsBounded(t *testing.T) {
	rows := []struct {
		name string
		body string
		err  error // of the body or of its reading
	}{
		{"just below 16 MiB", manyAgents(127, 128<<10), nil},
		{"above 16 MiB", manyAgents(129, 128<<10), errTooLarge},
		{"one text of 2 MiB", manyAgents(2, 2<<20), errLongToken},
		{"2 MiB of blanks", manyAgents(1, 1) + strings.Repeat(" ", 2<<20), errLongToken},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			b := newBody(strings.NewReader(row.body), maxAllowedAgents, "")
			reply, err := readAllowedAgents(b, map[int64]bool{4: true})
			switch {
			case row.err == nil && (err != nil || len(reply.Agents) != 1):
				t.Errorf("reply is %+v, %v; want one agent", reply, err)
			case row.err != nil && !errors.Is(err, row.err):
				t.Errorf("error is %v, want %v", err, row.err)
			}
		})
	}
}
