use super::*;

/// Parses `arguments` with no environment variables set.
fn parsed(arguments: &[&str]) -> Result<Command, String> {
    let command = command(|_| true);
    let matches = command.try_get_matches_from([&["kanary"], arguments].concat());
    let cli = matches.and_then(|matches| Cli::from_arg_matches(&matches));
    cli.map(|cli| cli.command).map_err(|error| error.to_string())
}

fn run(arguments: &[&str]) -> Run {
    match parsed(&[&["run"], arguments].concat()) {
        Ok(Command::Run(run)) => *run,
        Ok(_) => panic!("{arguments:?} is about something else"),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_commands_are_well_formed() {
    command(|_| false).debug_assert();
}

#[test]
fn a_refused_value_is_reported_once_with_an_example() {
    for (arguments, why) in [
        (&["--shards", "3"], "a power of two between 1 and 256, such as 32"),
        (&["--shards", "many"], "a power of two between 1 and 256, such as 32"),
        (&["--session-ttl", "1s"], "between 3s and 5m, such as 15s"),
        (&["--admin-addr", "8080"], "like 127.0.0.1:8080"),
        (
            &["--admin-addr", "localhost:8080"],
            "names like localhost are not supported",
        ),
        (&["--namespace", "Bad NS"], "not a DNS label"),
        (&["--lease-namespace", "Bad NS"], "such as kanary-system"),
        (&["--prometheus-qps", "0"], "between 1 and 10000"),
        (&["--prometheus-concurrency", "many"], "between 1 and 10000"),
        (&["--prometheus-join", "33"], "between 1 and 32"),
        (&["--route-settling-time", "0s"], "between 1s and 10m, such as 5s"),
        (
            &["--kinds", "KanaryDeployment"],
            "must be one of KanaryDeployment.kanary.k8s.io",
        ),
        (&["--target-kinds", "Job"], "Deployment, StatefulSet or DaemonSet"),
        (&["--max-concurrent-canaries", "0"], "between 1 and 10000"),
        (
            &["--max-concurrent-canaries-per-namespace", "10001"],
            "between 1 and 10000",
        ),
        (&["--prometheus-limits", "prom:9090=1/1"], "write URL=CONCURRENCY/QPS"),
        (&["--prometheus-limits", "http://prom=0/1"], "write URL=CONCURRENCY/QPS"),
        (&["--prometheus-allow", "10.0.0.0/99"], "a network like 10.0.0.0/8"),
        (&["--conversion-addr", "0.0.0.0:9443"], "--conversion-names <LIST>"),
        (
            &["--conversion-names", "Kanary.svc"],
            "such as kanary-conversion.kanary-system.svc",
        ),
        (&["--otlp-endpoint", "jaeger:4317"], "such as http://jaeger:4317"),
        (&["--otlp-protocol", "http/json"], "must be grpc or http/protobuf"),
        (&["--otlp-sample-ratio", "1.5"], "between 0 and 1, such as 0.1"),
        (&["--otlp-sample-ratio", "nan"], "between 0 and 1, such as 0.1"),
    ] {
        let error = parsed(&[&["run"], arguments.as_slice()].concat()).err().unwrap();
        assert!(error.contains(why), "{error}");
        assert_eq!(error.matches(arguments[0]).count(), 1, "{error}");
    }
    let error = parsed(&["shards", "-n", "Bad NS"]).err().unwrap();
    assert!(error.contains("not a DNS label"), "{error}");
}

#[test]
fn the_list_of_allowed_servers_is_given_with_commas_or_repeated() {
    let run = run(&["--prometheus-allow", "a, 10.0.0.0/8", "--prometheus-allow=http://b/c"]);
    let list: Allow = run.prometheus_allow.into_iter().collect();
    for allowed in ["http://a", "http://10.1.1.1", "http://b/c/d"] {
        assert!(list.check(allowed).is_ok(), "{allowed}");
    }
    assert!(list.check("http://11.1.1.1").is_err());
    assert_eq!(
        (run.prometheus_concurrency, run.prometheus_qps, run.prometheus_join),
        (10, 20, 32)
    );
}

#[test]
fn some_servers_have_their_own_limits() {
    let run = run(&[
        "--prometheus-limits",
        "http://Prom:80/=20/50,https://b.example.com/x=y=1/100",
    ]);
    let url = |text: &str| text.to_owned();
    assert_eq!(
        run.prometheus_limits,
        [
            (url("http://prom"), (20, 50)),
            (url("https://b.example.com/x=y"), (1, 100))
        ]
    );
}

#[test]
fn a_namespace_is_a_dns_label_or_absent() {
    for good in ["", "a", "0", "kanary-system", &"a".repeat(63)] {
        assert_eq!(namespace(good), Ok(good.to_owned()));
    }
    for bad in ["-a", "a-", "Shop", "a.b", "a_b", "a b", "café", &"a".repeat(64)] {
        assert!(namespace(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_variable_that_is_set_to_nothing_counts_as_not_set() {
    let command = command(|name| name == "KANARY_SHARDS");
    let reads = |name: &str| {
        let run = command.find_subcommand("run").unwrap();
        run.get_arguments().any(|arg| arg.get_env() == Some(OsStr::new(name)))
    };
    assert!(!reads("KANARY_SHARDS") && reads("KANARY_SESSION_TTL"));
    assert_eq!(run(&[]).shards, Layout::DEFAULT);
    assert!(run(&["--standalone"]).standalone && !run(&[]).standalone);
}

#[test]
fn a_flag_that_is_off_is_not_set() {
    let says_nothing = |name: &str, value: &str| super::says_nothing(OsStr::new(name), OsStr::new(value));
    for off in ["", "0", "false", "No", "OFF"] {
        assert!(says_nothing("KANARY_STANDALONE", off), "{off}");
    }
    assert!(!says_nothing("KANARY_STANDALONE", "true") && !says_nothing("KANARY_SHARDS", "0"));
}

#[test]
fn kinds_of_targets_are_given_with_commas() {
    assert_eq!(run(&[]).target_kinds, []);
    let all = run(&["--target-kinds", "Deployment, StatefulSet,DaemonSet"]).target_kinds;
    assert_eq!(all, WorkloadKind::ALL);
}

#[test]
fn the_webhook_has_names_or_a_certificate() {
    let own = run(&[
        "--conversion-addr",
        "0.0.0.0:9443",
        "--conversion-names",
        "a.b.svc,127.0.0.1",
    ]);
    assert_eq!(own.conversion_names, ["a.b.svc", "127.0.0.1"]);
    assert_eq!(own.conversion_secret, "kanary-conversion");
    let given = run(&["--conversion-addr", "[::]:9443", "--conversion-certificate", "/tls"]);
    assert_eq!(given.conversion_certificate, Some("/tls".into()));
    assert!(run(&[]).conversion_addr.is_none());
    for (arguments, why) in [
        (
            &["crds", "--conversion", "kanary-conversion"][..],
            "write NAMESPACE/NAME",
        ),
        (&["crds", "--stored", "v1"], "--conversion <NAMESPACE/NAME>"),
        (
            &["run", "--conversion-names", "a.svc", "--conversion-certificate", "/tls"],
            "cannot be used with",
        ),
    ] {
        let error = parsed(arguments).err().unwrap();
        assert!(error.contains(why), "{error}");
    }
}
