"""Classification of mammography exams."""
