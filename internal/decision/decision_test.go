package decision_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/klog/v2/textlogger"

	"github.com/jobgate/jobgate/internal/decision"
	"github.com/jobgate/jobgate/internal/job"
)

var kinds = []decision.Kind{
	decision.Login, decision.DeniedLogin, decision.Rejected, decision.Undecided, decision.Denied, decision.WouldDeny,
}

// full is a record with every field set.
func full(t *testing.T, kind decision.Kind) decision.Record {
	t.Helper()
	r := decision.Record{Decision: kind}
	v := reflect.ValueOf(&r).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); {
		case v.Type().Field(i).Name == "LeftOut", v.Type().Field(i).Name == "Decision", f.Type() == reflect.TypeFor[time.Time]():
		case f.Kind() == reflect.String:
			f.SetString("the " + v.Type().Field(i).Name)
		case f.Kind() == reflect.Int64:
			f.SetInt(int64(i) + 1)
		default:
			t.Fatalf("the test does not know the type of %s", v.Type().Field(i).Name)
		}
	}
	return r
}

// The log and the stream have the same fields in the same order; the stream has the time and the kind as well, which the
// log says in its own way.
func TestWrite_LogAndStreamHaveTheSameFields(t *testing.T) {
	messages := map[string]bool{}
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			var line string
			logger := funcr.NewJSON(func(obj string) { line = obj }, funcr.Options{})
			var stream bytes.Buffer
			r := full(t, kind)
			if !decision.NewLog(&stream, nil).Write(logger, r) {
				t.Error("the record was not kept")
			}
			logged, streamed := strings.TrimSuffix(line, "}"), strings.TrimSuffix(stream.String(), "}\n")
			var entry struct{ Msg string }
			if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Msg == "" || messages[entry.Msg] {
				t.Errorf("the line's message is %q, %v", entry.Msg, err)
			}
			messages[entry.Msg] = true
			_, logged, _ = strings.Cut(logged, `"reason":`)
			head, streamed, _ := strings.Cut(streamed, `"reason":`)
			if logged == "" || logged != streamed {
				t.Errorf("fields (-log +stream):\n%s", cmp.Diff(logged, streamed))
			}
			if !strings.Contains(head, `"time":"20`) || !strings.Contains(head, `Z","decision":"`+string(kind)+`"`) {
				t.Errorf("the stream's record begins with %s", head)
			}
		})
	}
}

func TestWrite_LeavesOutEmptyFields(t *testing.T) {
	var out, stream bytes.Buffer
	logger := textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(&out)))
	decision.NewLog(&stream, nil).Write(logger, decision.Record{Decision: decision.Login, Job: 7})
	if line := out.String(); !strings.HasSuffix(line, "\"Job logged in\" job=7\n") || !strings.Contains(line, "decision_test.go:") {
		t.Errorf("the line is %s", line)
	}
	var got map[string]any
	if err := json.Unmarshal(stream.Bytes(), &got); err != nil || len(got) != 3 {
		t.Errorf("the record is %s, %v", stream.String(), err)
	}
}

func TestRecord_AboutAJob(t *testing.T) {
	var r decision.Record
	r.About(&job.Job{ID: 1, ProjectID: 2, PipelineID: 3, UserID: 4, Username: "jdoe"})
	if want := (decision.Record{Job: 1, Project: 2, Pipeline: 3, User: 4, Username: "jdoe"}); r != want {
		t.Errorf("record is %+v, want %+v", r, want)
	}
}

func TestWrite_FloodLeavesABoundedLogThatCountsTheRest(t *testing.T) {
	rows := []struct {
		kinds            []decision.Kind
		burst, perSecond int
	}{
		{[]decision.Kind{decision.Login, decision.DeniedLogin}, 5000, 200},
		{[]decision.Kind{decision.Denied, decision.WouldDeny}, 2000, 50},
		{[]decision.Kind{decision.Rejected, decision.Undecided}, 1000, 20},
	}
	for _, row := range rows {
		t.Run(string(row.kinds[0]), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var stream bytes.Buffer
				log := decision.NewLog(&stream, nil)
				write := func(n int) (kept int) {
					for i := range n {
						if log.Write(logr.Discard(), decision.Record{Decision: row.kinds[i%2], Job: 1}) {
							kept++
						}
					}
					return kept
				}
				if got := write(10000); got != row.burst || strings.Count(stream.String(), "\n") != row.burst {
					t.Errorf("%d records at once, want the burst of %d", got, row.burst)
				}
				if strings.Contains(stream.String(), "leftOut") {
					t.Error("a record of the burst counts others as left out, and none was before it")
				}
				stream.Reset()
				<-time.After(time.Second) // of the bubble's clock
				if got := write(row.perSecond + 100); got != row.perSecond {
					t.Errorf("%d records in the second after, want %d", got, row.perSecond)
				}
				first, rest, _ := strings.Cut(stream.String(), "\n")
				var r decision.Record
				if err := json.Unmarshal([]byte(first), &r); err != nil || r.LeftOut != int64(10000-row.burst) || strings.Contains(rest, "leftOut") {
					t.Errorf("the first record alone must count the %d left out: %s", 10000-row.burst, first)
				}
			})
		})
	}
}

// Anyone can send bad tokens. However many, the line of a job's login is written.
func TestWrite_RejectionsCannotPushOutLogins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := decision.NewLog(nil, nil)
		for range 100000 {
			log.Write(logr.Discard(), decision.Record{Decision: decision.Rejected})
			log.Write(logr.Discard(), decision.Record{Decision: decision.Denied})
		}
		for _, kind := range []decision.Kind{decision.Login, decision.DeniedLogin} {
			if !log.Write(logr.Discard(), decision.Record{Decision: kind}) {
				t.Errorf("a record of %s was left out", kind)
			}
		}
	})
}

// stream is one that can refuse to be written.
type stream struct {
	bytes.Buffer

	err error
}

func (s *stream) Write(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	return s.Buffer.Write(p)
}

// The log says once that the stream fails, and once that it works again; the counter has each record.
func TestWrite_StreamThatFails(t *testing.T) {
	var out bytes.Buffer
	logger := textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(&out)))
	s, metrics := &stream{}, prometheus.NewRegistry()
	log := decision.NewLog(s, metrics)
	record := decision.Record{Decision: decision.Login, Job: 7}
	s.err = errors.New("disk full")
	for range 3 {
		if log.Write(logger, record) {
			t.Error("a record that the stream refused counts as kept")
		}
	}
	s.err = nil
	for range 2 {
		if !log.Write(logger, record) {
			t.Error("the record was not kept")
		}
	}
	for text, want := range map[string]int{
		"Job logged in": 5, "Decision log cannot be written": 1, "disk full": 1, "Decision log is written again": 1,
	} {
		if got := strings.Count(out.String(), text); got != want {
			t.Errorf("the log has %q %d times, want %d:\n%s", text, got, want, out.String())
		}
	}
	if got := strings.Count(s.String(), "\n"); got != 2 {
		t.Errorf("the stream has %d records, want 2", got)
	}
	const want = `
		# HELP jobgate_decisions_lost_total Decisions of which no record was kept, by kind and cause: budget (too many at once) or stream (it could not be written).
		# TYPE jobgate_decisions_lost_total counter
		jobgate_decisions_lost_total{cause="stream",decision="login"} 3
		# HELP jobgate_decisions_total Decisions about credentials and requests, by kind.
		# TYPE jobgate_decisions_total counter
		jobgate_decisions_total{decision="login"} 5
	`
	if err := testutil.GatherAndCompare(metrics, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

// What was left out is still counted after a record that the stream refused.
func TestWrite_StreamThatFailsKeepsTheCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stream{}
		log := decision.NewLog(s, nil)
		record := decision.Record{Decision: decision.Rejected}
		for range 1010 {
			log.Write(logr.Discard(), record)
		}
		<-time.After(time.Second) // of the bubble's clock
		s.err = errors.New("disk full")
		log.Write(logr.Discard(), record)
		s.err = nil
		s.Reset()
		log.Write(logr.Discard(), record)
		if !strings.Contains(s.String(), `"leftOut":10}`) {
			t.Errorf("the record is %s, want the 10 left out in it", s.String())
		}
	})
}

// Many write at once; each line of the stream is one record.
func TestWrite_ByManyAtOnce(t *testing.T) {
	var s bytes.Buffer
	log := decision.NewLog(&s, nil)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				log.Write(logr.Discard(), decision.Record{Decision: decision.Login, Job: 7, Message: "x"})
			}
		})
	}
	all.Wait()
	lines := 0
	for line := range strings.Lines(s.String()) {
		var r decision.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil || r.Job != 7 {
			t.Fatalf("line %q: %v", line, err)
		}
		lines++
	}
	if lines != 800 {
		t.Errorf("%d records, want 800", lines)
	}
}
