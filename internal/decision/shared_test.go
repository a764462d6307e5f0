package decision_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/go-logr/logr"

	"github.com/jobgate/jobgate/internal/decision"
)

// Two instances of jobgate append to one file, as serve opens it. No line is torn or lost.
func TestWrite_TwoLogsShareAFile(t *testing.T) {
	const each = 500
	name := filepath.Join(t.TempDir(), "decisions.jsonl")
	var running sync.WaitGroup
	for instance := range int64(2) {
		f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		log := decision.NewLog(f, nil)
		running.Go(func() {
			for range each {
				log.Write(logr.Discard(), decision.Record{Decision: decision.Login, Job: instance + 1, Message: strings.Repeat("long ", 200)})
			}
		})
	}
	running.Wait()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := map[int64]int{}
	for line := range bytes.Lines(text) {
		var r decision.Record
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("a line is torn: %v", err)
		}
		lines[r.Job]++
	}
	if lines[1] != each || lines[2] != each {
		t.Errorf("%d and %d lines, want %d of each", lines[1], lines[2], each)
	}
}
