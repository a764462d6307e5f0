package stamp_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/image/internal/stamp"
)

func TestNew(t *testing.T) {
	got, err := stamp.New("v1.2.3", "abc", "1700000000")
	want := stamp.Stamp{Version: "v1.2.3", Revision: "abc", Created: time.Unix(1700000000, 0).UTC()}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
}

func TestNew_Refused(t *testing.T) {
	rows := []struct{ name, version, revision, epoch, err string }{
		{name: "no version", revision: "abc", epoch: "1", err: "--version and --revision"},
		{name: "no revision", version: "v1", epoch: "1", err: "--version and --revision"},
		{name: "a version that is no tag", version: "v1+2", revision: "abc", epoch: "1", err: `--version is "v1+2"`},
		{name: "a version that every build could have", version: "latest", revision: "abc", epoch: "1", err: "must not call itself the latest"},
		{name: "no time", version: "v1", revision: "abc", err: "SOURCE_DATE_EPOCH"},
		{name: "a time before 1970", version: "v1", revision: "abc", epoch: "-1", err: "SOURCE_DATE_EPOCH"},
		{name: "a time in words", version: "v1", revision: "abc", epoch: "yesterday", err: "SOURCE_DATE_EPOCH"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if _, err := stamp.New(row.version, row.revision, row.epoch); err == nil || !strings.Contains(err.Error(), row.err) {
				t.Errorf("error is %v, want %q", err, row.err)
			}
		})
	}
}

func TestReleased(t *testing.T) {
	rows := []struct {
		version string
		want    bool
	}{
		{"v0.0.0", true},
		{"v1.2.3", true},
		{"v1.2.3-rc.1", true},
		{"devel", false},
		{"1.2.3", false},
		{"v1.2", false},
		{"v01.2.3", false},
	}
	for _, row := range rows {
		t.Run(row.version, func(t *testing.T) {
			if err := (stamp.Stamp{Version: row.version}).Released(); (err == nil) != row.want {
				t.Errorf("error is %v", err)
			}
		})
	}
}
