package config_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/policy"
)

func TestRestartNeeded_NamesEverySettingOfTheServingSide(t *testing.T) {
	serving := reflect.TypeFor[config.Serving]()
	for i := range serving.NumField() {
		path := "serving." + strings.Split(serving.Field(i).Tag.Get("json"), ",")[0]
		t.Run(path, func(t *testing.T) {
			old, changed := config.Default(), config.Default()
			switch value := reflect.ValueOf(&changed.Serving).Elem().Field(i).Addr().Interface().(type) {
			case *string:
				*value = "another"
			case *[]string:
				*value = []string{"another"}
			case *bool:
				*value = !*value
			}
			if diff := cmp.Diff([]string{path}, changed.RestartNeeded(old)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestRestartNeeded_NamesTheAddressOfGitLab(t *testing.T) {
	old, changed := config.Default(), config.Default()
	changed.GitLab.URL = "https://gitlab.example.com"
	changed.Serving.KeyFile = "tls.key"
	if diff := cmp.Diff([]string{"gitlab.url", "serving.keyFile"}, changed.RestartNeeded(old)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestRestartNeeded_IsEmptyForEverythingElse(t *testing.T) {
	old := config.Default()
	old.Serving.ClientNames = []string{}
	changed := config.Default()
	changed.GitLab = config.GitLab{
		AllowPlainHTTP: true, CAFile: "ca.crt", TokenFile: "token", Timeout: config.Duration{Duration: time.Second},
		MaxInFlight: 1, RateLimit: config.RateLimit{RequestsPerSecond: 1, Burst: 1},
	}
	changed.Agents = []config.Agent{{ID: 4}}
	changed.Restrictions = []policy.Restriction{{Name: "production"}}
	changed.ExplainRejections = true
	changed.Cache = config.Cache{}
	if got := changed.RestartNeeded(old); len(got) > 0 {
		t.Errorf("got %q, want nothing", got)
	}
}
