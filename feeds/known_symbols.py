"""The table of well-known US symbols that simulated feeds begin with, and replays take names from.

Exchanges are market identifier codes (ISO 10383): XNAS Nasdaq, XNYS New York, ARCX NYSE Arca. Prices and volatilities
are of the right order and no more: a simulated price swings around the one in this table.
"""

from typing import NamedTuple


class KnownSymbol(NamedTuple):
    """A row: `price` in US dollars, `volatility` of the log-price a year."""

    symbol: str
    name: str
    exchange: str
    sector: str
    price: float
    volatility: float


KNOWN_SYMBOLS = tuple(
    KnownSymbol(*row)
    for row in (
        ("AAPL", "Apple Inc.", "XNAS", "Technology", 230.0, 0.28),
        ("MSFT", "Microsoft Corporation", "XNAS", "Technology", 430.0, 0.24),
        ("NVDA", "NVIDIA Corporation", "XNAS", "Technology", 140.0, 0.50),
        ("AMZN", "Amazon.com, Inc.", "XNAS", "Consumer Discretionary", 200.0, 0.32),
        ("GOOGL", "Alphabet Inc. Class A", "XNAS", "Communication Services", 175.0, 0.30),
        ("META", "Meta Platforms, Inc.", "XNAS", "Communication Services", 580.0, 0.36),
        ("TSLA", "Tesla, Inc.", "XNAS", "Consumer Discretionary", 280.0, 0.60),
        ("BRK.B", "Berkshire Hathaway Inc. Class B", "XNYS", "Financials", 460.0, 0.18),
        ("JPM", "JPMorgan Chase & Co.", "XNYS", "Financials", 240.0, 0.24),
        ("V", "Visa Inc.", "XNYS", "Financials", 310.0, 0.20),
        ("LLY", "Eli Lilly and Company", "XNYS", "Health Care", 800.0, 0.34),
        ("AVGO", "Broadcom Inc.", "XNAS", "Technology", 180.0, 0.46),
        ("WMT", "Walmart Inc.", "XNYS", "Consumer Staples", 90.0, 0.20),
        ("XOM", "Exxon Mobil Corporation", "XNYS", "Energy", 112.0, 0.24),
        ("MA", "Mastercard Incorporated", "XNYS", "Financials", 520.0, 0.20),
        ("UNH", "UnitedHealth Group Incorporated", "XNYS", "Health Care", 480.0, 0.32),
        ("COST", "Costco Wholesale Corporation", "XNAS", "Consumer Staples", 920.0, 0.22),
        ("JNJ", "Johnson & Johnson", "XNYS", "Health Care", 155.0, 0.16),
        ("PG", "Procter & Gamble Company", "XNYS", "Consumer Staples", 168.0, 0.17),
        ("HD", "Home Depot, Inc.", "XNYS", "Consumer Discretionary", 390.0, 0.22),
        ("NFLX", "Netflix, Inc.", "XNAS", "Communication Services", 880.0, 0.36),
        ("BAC", "Bank of America Corporation", "XNYS", "Financials", 44.0, 0.27),
        ("IBM", "International Business Machines Corporation", "XNYS", "Technology", 225.0, 0.24),
        ("ORCL", "Oracle Corporation", "XNYS", "Technology", 170.0, 0.36),
        ("CRM", "Salesforce, Inc.", "XNYS", "Technology", 320.0, 0.34),
        ("KO", "Coca-Cola Company", "XNYS", "Consumer Staples", 64.0, 0.15),
        ("PEP", "PepsiCo, Inc.", "XNAS", "Consumer Staples", 158.0, 0.18),
        ("AMD", "Advanced Micro Devices, Inc.", "XNAS", "Technology", 135.0, 0.50),
        ("ADBE", "Adobe Inc.", "XNAS", "Technology", 500.0, 0.34),
        ("CSCO", "Cisco Systems, Inc.", "XNAS", "Technology", 58.0, 0.22),
        ("INTC", "Intel Corporation", "XNAS", "Technology", 23.0, 0.50),
        ("QCOM", "QUALCOMM Incorporated", "XNAS", "Technology", 160.0, 0.36),
        ("TXN", "Texas Instruments Incorporated", "XNAS", "Technology", 195.0, 0.32),
        ("MCD", "McDonald's Corporation", "XNYS", "Consumer Discretionary", 295.0, 0.18),
        ("NKE", "NIKE, Inc.", "XNYS", "Consumer Discretionary", 76.0, 0.34),
        ("DIS", "Walt Disney Company", "XNYS", "Communication Services", 105.0, 0.28),
        ("GE", "GE Aerospace", "XNYS", "Industrials", 185.0, 0.30),
        ("CAT", "Caterpillar Inc.", "XNYS", "Industrials", 370.0, 0.29),
        ("BA", "Boeing Company", "XNYS", "Industrials", 170.0, 0.38),
        ("UPS", "United Parcel Service, Inc.", "XNYS", "Industrials", 125.0, 0.28),
        ("CVX", "Chevron Corporation", "XNYS", "Energy", 152.0, 0.24),
        ("PFE", "Pfizer Inc.", "XNYS", "Health Care", 26.0, 0.25),
        ("MRK", "Merck & Co., Inc.", "XNYS", "Health Care", 100.0, 0.23),
        ("ABBV", "AbbVie Inc.", "XNYS", "Health Care", 180.0, 0.25),
        ("GS", "Goldman Sachs Group, Inc.", "XNYS", "Financials", 570.0, 0.28),
        ("T", "AT&T Inc.", "XNYS", "Communication Services", 23.0, 0.22),
        ("NEE", "NextEra Energy, Inc.", "XNYS", "Utilities", 72.0, 0.28),
        ("PLTR", "Palantir Technologies Inc.", "XNAS", "Technology", 75.0, 0.65),
        ("SPY", "SPDR S&P 500 ETF Trust", "ARCX", "Fund", 590.0, 0.16),
        ("QQQ", "Invesco QQQ Trust", "XNAS", "Fund", 510.0, 0.21),
    )
)
"""In the order in which a number of symbols takes them."""
