use clap::CommandFactory;

use super::*;

fn asked(arguments: &str) -> Result<Plan, String> {
    let arguments = std::iter::once("kanary-loadtest").chain(arguments.split_whitespace());
    let cli = Cli::try_parse_from(arguments).map_err(|error| error.to_string())?;
    plan(cli, String::new())
}

#[test]
fn the_commands_are_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn what_is_refused_is_explained() {
    for (arguments, why) in [
        ("burst --canaries 0", "from 1 to 20000"),
        ("burst --canaries 50,many", "from 1 to 20000"),
        ("burst --replicas 6", "1..=5"),
        ("burst --validation 1s", "at least 5s"),
        ("burst --interval 2m", "must not be longer than --validation 1m"),
        ("burst --name ../x", "letters, digits"),
        ("steady --rate 0", "from 0.01 to 1000"),
        ("failover --replicas 1", "so that one can take over"),
        ("rolling --operator floor", "rolling is about Kanary"),
        ("brownout --errors 101", "0..=100"),
    ] {
        let error = asked(arguments).err().unwrap_or_default();
        assert!(error.contains(why), "{arguments}: {error}");
    }
}

#[test]
fn each_number_of_canaries_and_each_operator_makes_a_run() {
    let plan = asked("burst --canaries 50,200 --operator floor,kanary").unwrap();
    let parts: Vec<_> = plan.parts().iter().map(|part| (part.canaries, part.operator)).collect();
    let both = [Operator::Floor, Operator::Kanary];
    let expected: Vec<_> = [50, 200].into_iter().flat_map(|n| both.map(|who| (n, who))).collect();
    assert_eq!(parts, expected);
}

#[test]
fn a_tenant_comes_after_a_run_without_it() {
    let plan = asked("hostile --endpoints 25 --items 10").unwrap();
    let tenants: Vec<_> = plan
        .parts()
        .iter()
        .map(|part| part.tenant.map(Tenant::kanaries))
        .collect();
    assert_eq!(tenants, [None, Some(3)]);
}

#[test]
fn the_floor_needs_no_kanary() {
    let plan = asked("floor --canaries 10").unwrap();
    assert_eq!(plan.operators, [Operator::Floor]);
    assert_eq!(asked("failover").unwrap().replicas, 3);
    assert_eq!(
        asked("failover --validation 40s").unwrap().disturbance,
        Disturbance::Kill {
            after: Duration::from_secs(20),
            restart: false
        }
    );
}
